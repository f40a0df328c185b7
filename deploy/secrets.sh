#!/bin/sh
# secrets.sh [FOLDER] - make the secrets that docker-compose.yml reads, as far as they are missing. Run it beside that.
# To use a Postgres or Redis of your own, write its URL into checkpoint_database_url or checkpoint_broker_url first.
set -eu
folder=${1:-./secrets}
# Containers of several users read the files, so the folder is what keeps others out.
mkdir -p "$folder"
chmod 700 "$folder"
umask 222

new() { # NAME TEXT
    [ -e "$folder/$1" ] || printf '%s\n' "$2" >"$folder/$1"
}
password() { # 32 characters that need no quoting in a URL
    head -c 24 /dev/urandom | base64 | tr '+/' '-_'
}

new postgres_password "$(password)"
new redis_password "$(password)"
new checkpoint_database_url "postgresql://checkpoints:$(cat "$folder/postgres_password")@postgres:5432/checkpoints"
new checkpoint_broker_url "redis://:$(cat "$folder/redis_password")@redis:6379/0"
new checkpoint_flower_url "http://checkpoints:$(password)@0.0.0.0:5555"
# Compose reads it: without this line it says what to do.
grep -qs '^SECRETS_FOLDER=' .env || echo "SECRETS_FOLDER=$folder" >>.env
echo "secrets: $folder/; Flower's user and password are in $folder/checkpoint_flower_url"
