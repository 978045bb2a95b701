# How targets are made here: one library a folder, one test program a folder.

add_library(ptdoc_options INTERFACE)
target_compile_options(ptdoc_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports these inside std::variant and std::optional that are fine.
  target_compile_options(ptdoc_options INTERFACE -Wno-maybe-uninitialized -Wno-restrict)
endif()
target_include_directories(ptdoc_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(ptdoc_options INTERFACE PTDOC_VERSION="${PROJECT_VERSION}")
if(PTDOC_SANITIZE)
  target_compile_options(ptdoc_options INTERFACE
    -fsanitize=${PTDOC_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(ptdoc_options INTERFACE -fsanitize=${PTDOC_SANITIZE})
endif()

# ptdoc_library(NAME [DEPS target...]): every .cc of the folder but main.cc.
function(ptdoc_library name)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")
  if(NOT sources)
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE ptdoc_options ${ARG_DEPS})
    return()
  endif()
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC ptdoc_options ${ARG_DEPS})
endfunction()

# ptdoc_test(NAME [DEPS target...] [LABELS label...]): every *_test.cc of the folder. Without
# LABELS it is "unit": `./dev test` builds and runs those with sanitizers only.
function(ptdoc_test name)
  cmake_parse_arguments(ARG "" "" "DEPS;LABELS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ptdoc_options ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  if(PTDOC_SANITIZE)
    # What they test is optimized; they themselves compile in half the time so.
    target_compile_options(${name} PRIVATE -O0)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 600 PROCESSORS 2)
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}")
endfunction()
