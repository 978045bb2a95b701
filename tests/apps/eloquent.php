<?php
// Laravel's Eloquent on one SQLite file: integers as keys, as Laravel makes them, a
// uuid beside them, and its migrations.
//   php eloquent.php FILE migrate 1|2 | add KEY NAME | rename KEY NAME | remove KEY | list

require_once 'Illuminate/Database/autoload.php';

use Illuminate\Database\Capsule\Manager as Capsule;
use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Schema\Blueprint;

class Person extends Model {
    protected $guarded = [];
    public function visits() { return $this->hasMany(Visit::class); }
}

class Visit extends Model {
    protected $guarded = [];
}

function uuid() {
    $hex = bin2hex(random_bytes(16));
    return vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split($hex, 4));
}

function migrate($schema, $step) {
    if ($step == '1') {
        $schema->create('people', function (Blueprint $table) {
            $table->id();
            $table->uuid('uuid')->unique();
            $table->string('name');
            $table->string('phone')->nullable();
            $table->timestamps();
        });
        $schema->create('visits', function (Blueprint $table) {
            $table->id();
            $table->uuid('uuid')->unique();
            $table->foreignId('person_id')->constrained()->onDelete('cascade');
            $table->text('note')->nullable();
            $table->timestamps();
        });
        return;
    }
    $schema->table('people', function (Blueprint $table) { $table->string('nick')->nullable(); });
    $schema->table('visits', function (Blueprint $table) { $table->index('note'); });
    $schema->create('labels', function (Blueprint $table) { $table->id(); });
}

[, $file, $verb] = $argv;
$args = array_slice($argv, 3);
if (!file_exists($file)) touch($file);
$capsule = new Capsule;
$capsule->addConnection(['driver' => 'sqlite', 'database' => $file, 'prefix' => '',
                         'foreign_key_constraints' => true]);
$capsule->setAsGlobal();
$capsule->bootEloquent();
$connection = $capsule->getConnection();

switch ($verb) {
    case 'migrate':
        migrate($capsule->schema(), $args[0]);
        break;
    case 'add':
        $connection->transaction(function () use ($args) {
            $person = Person::create(['uuid' => uuid(), 'name' => $args[1], 'phone' => $args[0]]);
            $person->visits()->create(['uuid' => uuid(), 'note' => "first of $args[0]"]);
        });
        break;
    case 'rename':
        Person::where('phone', $args[0])->firstOrFail()->update(['name' => $args[1]]);
        break;
    case 'remove':
        Person::where('phone', $args[0])->firstOrFail()->delete();
        break;
    case 'list':
        foreach (Person::orderBy('uuid')->get() as $person) {
            $notes = $person->visits()->orderBy('uuid')->pluck('note')->implode(',');
            echo "$person->uuid|$person->name|$person->phone|$person->updated_at|$notes\n";
        }
        break;
    default:
        fwrite(STDERR, "unknown verb\n");
        exit(2);
}
