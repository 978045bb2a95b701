#include "tests/simulation/feed_referee.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ptdoc::sync::sim {
namespace {

const Version* FindIn(const FeedReferee::History& history, const EntityKey& key,
                      Revision revision) {
  const auto versions = history.find(key);
  if (versions == history.end()) return nullptr;
  const auto version = std::find_if(versions->second.begin(), versions->second.end(),
                                    [&](const Version& one) { return one.revision == revision; });
  return version == versions->second.end() ? nullptr : &*version;
}

void AddRevisions(const std::vector<Version>& versions, size_t from,
                  std::vector<Revision>* revisions) {
  for (size_t i = from; i < versions.size(); ++i) revisions->push_back(versions[i].revision);
}

}  // namespace

void FeedReferee::Append(World& world, const FeedVersion& entry) {
  const Revision revision = entry.version.revision;
  if (revision != newest() + 1) {
    world.Fail(absl::StrCat("the log has r", revision, " after r", newest()));
  }
  log_[revision] = {entry.version.key, entry.batch_end};
}

std::vector<Revision> FeedReferee::Wanted(const PullQuery& query, const Cursor& from,
                                          Revision up_to, const History& history) const {
  std::vector<Revision> wanted;
  for (auto entry = log_.upper_bound(from.sequence); entry != log_.end(); ++entry) {
    const auto& [revision, logged] = *entry;
    if (revision > up_to) break;
    const bool is_of_types =
        query.types.empty() ||
        std::find(query.types.begin(), query.types.end(), logged.key.type) != query.types.end();
    if (!is_of_types) continue;
    if (from.snapshot_end > 0) {
      const Version& head = history.at(logged.key).back();
      if (head.revision != revision || head.deleted) continue;
    }
    wanted.push_back(revision);
  }
  return wanted;
}

void FeedReferee::JudgeEnd(World& world, const Cursor& from, const PullPage& page) const {
  const Cursor& to = page.next->cursor;
  if (page.cursor.empty() == page.batch_end) {
    world.Fail("a cursor stands inside of a batch, or none behind it (P8)");
  }
  if (page.batch_end && to.sequence > 0) {
    const auto last = log_.find(to.sequence);
    if (last == log_.end() || !last->second.batch_end) {
      world.Fail(absl::StrCat("a page ends inside of a batch (P8): at r", to.sequence));
    }
  }
  const bool is_at_end = to.snapshot_end == 0 && to.sequence >= newest();
  if (page.caught_up && !(is_at_end && page.batch_end)) {
    world.Fail(absl::StrCat("a page says caught up (P8): at r", to.sequence));
  }
  if (to.snapshot_end != from.snapshot_end &&
      !(to.snapshot_end == 0 && to.sequence == from.snapshot_end)) {
    world.Fail(absl::StrCat("a snapshot was left before its end (P8): at r", to.sequence));
  }
}

void FeedReferee::Judge(World& world, const PullQuery& query, const PullPosition* resume,
                        const PullPage& page, const History& history) {
  Cursor from;
  const auto is_own = [&](Revision revision) {
    if (resume == nullptr || from.snapshot_end > 0) return false;
    return std::any_of(resume->own.begin(), resume->own.end(), [&](const OwnBatch& batch) {
      return revision > batch.after && revision <= batch.end.sequence;
    });
  };
  from.snapshot_end = newest();
  if (resume != nullptr) {
    from = resume->cursor;
  } else if (!query.cursor.empty()) {
    const auto told = told_.find(query.cursor);
    if (told == told_.end()) return world.Fail("a cursor was taken that no page had given");
    from = told->second;
  }
  const Cursor& to = page.next->cursor;
  std::vector<Revision> wanted;
  if (resume != nullptr && resume->rest != nullptr) {
    AddRevisions(*resume->rest, resume->rest_sent, &wanted);
  } else {
    wanted = Wanted(query, from, to.sequence, history);
    std::erase_if(wanted, is_own);
  }
  std::vector<Revision> got;
  AddRevisions(page.versions, 0, &got);
  if (page.next->rest != nullptr) AddRevisions(*page.next->rest, page.next->rest_sent, &got);
  if (got != wanted) {
    world.Fail(absl::StrCat("a page is not what was committed (P8): after r", from.sequence,
                            " up to r", to.sequence, " [", absl::StrJoin(got, " "), "] for [",
                            absl::StrJoin(wanted, " "), "]"));
  }
  for (const Version& version : page.versions) {
    const Version* const committed = FindIn(history, version.key, version.revision);
    if (committed == nullptr || committed->fields != version.fields ||
        committed->deleted != version.deleted) {
      world.Fail(absl::StrCat("a version is not as it was committed (P8): ", version.key.type, "/",
                              version.key.id, " r", version.revision));
    }
  }
  JudgeEnd(world, from, page);
  world.Count(from.snapshot_end > 0 ? "page of heads judged" : "page of the log judged");
  if (page.batch_end) told_[page.cursor] = to;
}

}  // namespace ptdoc::sync::sim
