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
cat > rabbitmq.conf <<'END'
disk_free_limit.absolute = 50MB
END
export HOME=$work ERL_EPMD_PORT=$epmd ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_NODENAME=finding$port@localhost
export RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$port RABBITMQ_DIST_PORT=$dist RABBITMQ_MNESIA_BASE=$work/mnesia
export RABBITMQ_LOG_BASE=$work/logs RABBITMQ_LOGS=- RABBITMQ_PID_FILE=$work/pid RABBITMQ_CONFIG_FILE=$work/rabbitmq.conf
export RABBITMQ_CONF_ENV_FILE=$work/none RABBITMQ_ENABLED_PLUGINS_FILE=$work/plugins
epmd > epmd.log 2>&1 &
"$server" > server.log 2>&1 &

cat > ask.py <<'END'
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
asks, answers = connection.channel(), connection.channel()
asks.queue_declare("questions", auto_delete=True)
asks.basic_consume("amq.rabbitmq.reply-to", lambda *it: print("the asker got:", it[3].decode()), auto_ack=True)
asks.basic_publish("", "questions", "a question", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
question = None
while question is None:
    _, question, _ = answers.basic_get("questions", auto_ack=True)
answers.confirm_delivery()
try:
    answers.basic_publish("", question.reply_to, "an answer", mandatory=True)
    print("the answerer: not returned")
except pika.exceptions.UnroutableError as error:
    back = error.messages[0]
    print("the answerer got back:", back.body.decode(), back.method.reply_code, back.method.reply_text)
connection.process_data_events(1)
END

echo "Debian rabbitmq-server $(dpkg-query -W -f='${Version}' rabbitmq-server), PyPI pika 1.4.4"
echo "An answer published with mandatory to amq.rabbitmq.reply-to reaches the asker, and comes back to the answerer as unroutable."
expected='the answerer got back: an answer 312 NO_ROUTE
the asker got: an answer'
seen=$(python/bin/python ask.py "$port" 2>ask.log) || { cat ask.log server.log >&2; exit 1; }
echo "$seen"
seen=$(sort <<<"$seen")
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }
