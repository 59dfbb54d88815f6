#!/bin/sh
# The first process of the image: becomes the broker itself, as the user rabbitmq, so that signals reach it.
set -e

if [ "$1" != rabbitmq-server ]; then
  exec "$@"
fi
shift

# Files copied into the container may belong to root.
chown -R rabbitmq:rabbitmq /var/lib/rabbitmq /var/log/rabbitmq

# The script in sbin goes through `su`, and without RUNNING_UNDER_SYSTEMD a shell stays in front of the
# broker; either would keep SIGTERM from it.
export HOME=/var/lib/rabbitmq RUNNING_UNDER_SYSTEMD=true
cd "$HOME"
exec setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups /usr/lib/rabbitmq/bin/rabbitmq-server "$@"
