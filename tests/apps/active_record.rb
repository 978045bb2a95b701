# Rails' ActiveRecord on one SQLite file, with uuids as keys and its own migrations.
#   ruby active_record.rb FILE migrate 1|2 | add KEY NAME | rename KEY NAME | remove KEY | list
require "active_record"
require "logger"

file, verb, *args = ARGV
ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: file, timeout: 20_000)
ActiveRecord::Migration.verbose = false

class First < ActiveRecord::Migration[6.1]
  def change
    create_table :people, id: :string do |t|
      t.string :name, null: false
      t.string :phone
      t.timestamps
    end
    create_table :visits, id: :string do |t|
      t.string :person_id, null: false
      t.text :note
    end
    add_index :visits, :person_id
  end
end

# Each of these makes the table anew.
class Second < ActiveRecord::Migration[6.1]
  def up
    add_column :people, :nick, :string
    change_column :people, :name, :text, null: false
    rename_column :people, :phone, :telephone
    add_index :people, :name
  end
end

class Person < ActiveRecord::Base
  has_many :visits, dependent: :delete_all
end

class Visit < ActiveRecord::Base
end

case verb
when "migrate" then { "1" => First, "2" => Second }.fetch(args[0]).new.migrate(:up)
when "add"
  Person.transaction do
    Person.create!(id: args[0], name: args[1])
    Visit.create!(id: "v-#{args[0]}", person_id: args[0], note: "first")
  end
when "rename" then Person.find(args[0]).update!(name: args[1])
when "remove" then Person.find(args[0]).destroy!
when "list" then puts Person.order(:id).map { |p| [p.id, p.name, p.visits.count] }.inspect
else abort "unknown verb"
end
