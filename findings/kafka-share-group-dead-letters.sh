#!/usr/bin/env bash
# Apache Kafka 4.4.0, dead letters of share groups (KIP-1191): two surprises.
#
# 1. A group takes any name as errors.deadletterqueue.topic.name. Where it does not begin with the
#    broker's prefix ("dlq." unless told otherwise), a rejected record is written nowhere: the group
#    is done with it, its consumer hears of nothing, and only the broker's log has an error. So it
#    goes with a topic that was there before and has errors.deadletterqueue.group.enable.
# 2. A letter has neither the key nor the value of the record, and none of its headers: it names only
#    topic, partition and offset. Once retention has taken the original, nothing of it is left.
#    (errors.deadletterqueue.copy.record.enable of the group copies key and value, no headers.)
#
# Needs Java 17 and Maven. Seen: "letters on rejected: 0", and of the letter on dlq.rejected
# "null null" with the headers below. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
broker=
trap '[ -z "$broker" ] || kill -KILL "$broker"; rm -rf "$folder"' EXIT
cd "$folder"
cat > pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.4.0</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.4.0</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM
mvn --batch-mode --quiet org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory=lib >/dev/null
read -r port controller < <(python3 - <<'PYTHON'
import socket
taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in taken))
PYTHON
)
cat > server.properties <<SETTINGS
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
log.dirs=$folder/data
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
SETTINGS
java_of() { java -Xmx256m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp 'lib/*' "$@"; }
tool() { java_of "org.apache.kafka.tools.$1" --bootstrap-server "127.0.0.1:$port" "${@:2}"; }
java_of kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c server.properties >/dev/null
java -Xmx384m -cp 'lib/*' kafka.Kafka server.properties >broker.log 2>&1 &
broker=$!
until tool TopicCommand --list >/dev/null 2>&1; do kill -0 "$broker"; done

tool TopicCommand --create --topic events --partitions 3 >/dev/null
for letters in rejected dlq.rejected; do
    tool TopicCommand --create --topic "$letters" --partitions 1 \
        --config errors.deadletterqueue.group.enable=true >/dev/null 2>&1
done
printf 'kind:x\tkey\tvalue\n' | tool ConsoleProducer --topic events \
    --reader-property parse.key=true --reader-property parse.headers=true >/dev/null
for letters in rejected dlq.rejected; do
    tool ConfigCommand --alter --entity-type groups --entity-name "of-$letters" --add-config \
        "errors.deadletterqueue.topic.name=$letters,share.auto.offset.reset=earliest" >/dev/null
    tool consumer.ConsoleShareConsumer --topic events --group "of-$letters" --reject \
        --max-messages 1 --timeout-ms 60000 >/dev/null 2>&1
done
letter=$(tool consumer.ConsoleConsumer --topic dlq.rejected --from-beginning --max-messages 1 \
    --timeout-ms 60000 --formatter-property print.headers=true --formatter-property print.key=true \
    --formatter-property key.separator=' ' --formatter-property headers.separator=, 2>/dev/null)
# The letter of the second group is there; that of the first had even longer.
count=$(tool GetOffsetShell --topic rejected | cut -d: -f3)
{
    echo "letters on rejected: $count"
    sed -E 's/(errors.partition):[0-9]/\1:N/' <<<"$letter"
    grep -o 'does not comply with the DLQ topic prefix' broker.log | sort -u
} | tee seen
diff seen - <<'SEEN'
letters on rejected: 0
__dlq.errors.topic:events,__dlq.errors.partition:N,__dlq.errors.offset:0,__dlq.errors.group:of-dlq.rejected,__dlq.errors.delivery.count:1,__dlq.errors.message:Offset rejected by client. null null
does not comply with the DLQ topic prefix
SEEN
echo "as it was"
