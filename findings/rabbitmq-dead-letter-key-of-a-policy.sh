#!/usr/bin/env bash
set -euo pipefail
work=$(mktemp -d)
end() {
    for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap end EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check pika==1.4.4

# A node of its own with its own epmd, on free ports, as the current user: Debian's package has the program itself here.
server=/usr/lib/rabbitmq/bin/rabbitmq-server
[ -x "$server" ] || { echo "apt-get install rabbitmq-server" >&2; exit 1; }
read -r port epmd dist < <(python3 -c '
import socket
all = [socket.socket() for _ in range(3)]
for one in all: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in all))')
echo '[].' > plugins
cat > rabbitmq.conf <<END
disk_free_limit.absolute = 50MB
load_definitions = $work/definitions.json
END
cat > definitions.json <<'END'
{"vhosts": [{"name": "/"}],
 "users": [{"name": "guest", "password": "guest", "tags": ""}],
 "permissions": [{"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
 "policies": [{"vhost": "/", "name": "dead letters", "pattern": "^matched$", "apply-to": "queues", "priority": 0,
               "definition": {"dead-letter-exchange": "other", "dead-letter-routing-key": "unread"}}]}
END
export HOME=$work ERL_EPMD_PORT=$epmd ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_NODENAME=finding$port@localhost
export RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$port RABBITMQ_DIST_PORT=$dist RABBITMQ_MNESIA_BASE=$work/mnesia
export RABBITMQ_LOG_BASE=$work/logs RABBITMQ_LOGS=- RABBITMQ_PID_FILE=$work/pid RABBITMQ_CONFIG_FILE=$work/rabbitmq.conf
export RABBITMQ_CONF_ENV_FILE=$work/none RABBITMQ_ENABLED_PLUGINS_FILE=$work/plugins
epmd > epmd.log 2>&1 &
"$server" > server.log 2>&1 &

cat > reject.py <<'END'
import sys
import time

import pika

parameters = pika.ConnectionParameters("127.0.0.1", int(sys.argv[1]))
for _ in range(150):
    try:
        connection = pika.BlockingConnection(parameters)
        break
    except pika.exceptions.AMQPError:
        time.sleep(0.5)
channel = connection.channel()
channel.confirm_delivery()


def get(*queues):
    for _ in range(300):
        for queue in queues:
            method, _, body = channel.basic_get(queue)
            if method:
                return queue, method, body.decode()
        time.sleep(0.1)
    sys.exit(f"nothing in {queues}")


# What the queue's own exchange has no queue for goes to the exchange "stray".
channel.exchange_declare("stray", "fanout")
channel.exchange_declare("dlx", arguments={"alternate-exchange": "stray"})
channel.exchange_declare("other")
for queue in "dead", "unread", "stray":
    channel.queue_declare(queue)
channel.queue_bind("dead", "dlx", "plain")
channel.queue_bind("dead", "dlx", "matched")
channel.queue_bind("unread", "other", "unread")
channel.queue_bind("stray", "stray")
own = {"x-queue-type": "quorum", "x-dead-letter-exchange": "dlx", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
for queue in "plain", "matched":
    channel.queue_declare(queue, durable=True, arguments=own)
    channel.basic_publish("", queue, queue, mandatory=True)
    channel.basic_reject(get(queue)[1].delivery_tag, requeue=False)
    where, method, body = get("dead", "unread", "stray")
    print(f"the message of the queue {body}: from {method.exchange} with the key {method.routing_key}, now in the queue {where}")
END

echo "Debian rabbitmq-server $(dpkg-query -W -f='${Version}' rabbitmq-server), PyPI pika 1.4.4"
echo "Two queues declare dlx as their dead-letter exchange and no key. A policy with another exchange and a key matches the second: its"
echo "dead letters still go to dlx, but with the policy's key, and so to neither the queue bound at dlx nor the one the policy has in mind."
expected='the message of the queue plain: from dlx with the key plain, now in the queue dead
the message of the queue matched: from dlx with the key unread, now in the queue stray'
seen=$(python/bin/python reject.py "$port" 2>reject.log) || { cat reject.log server.log >&2; exit 1; }
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }
