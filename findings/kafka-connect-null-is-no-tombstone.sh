#!/usr/bin/env bash
# Kafka Connect's JsonConverter 4.4.0 with schemas.enable=true: null with an optional schema becomes
# {"schema":…,"payload":null}, a value like any other. Only null without a schema becomes a record
# without a value. So whether a connector's delete is a tombstone depends on whether it gives the
# schema of what it deletes; a compacted topic keeps the other kind for ever.
# Needs Java 17 and Maven.
#
# Seen: "null, no schema: null", "null, optional schema: {"schema":{"type":"string","optional":true},
#       "payload":null}". Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>connect-json</artifactId><version>4.4.0</version>
    </dependency>
  </dependencies>
</project>
XML
cat > Null.java <<'JAVA'
import java.util.Map;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.json.JsonConverter;

public class Null {
    static String shown(byte[] value) {
        return value == null ? "null" : new String(value);
    }

    public static void main(String[] none) {
        JsonConverter converter = new JsonConverter();
        converter.configure(Map.of("schemas.enable", true), false);
        System.out.println("null, no schema: " + shown(converter.fromConnectData("t", null, null)));
        System.out.println("null, optional schema: "
            + shown(converter.fromConnectData("t", Schema.OPTIONAL_STRING_SCHEMA, null)));
    }
}
JAVA
mvn --batch-mode --quiet -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=lib
java -cp "lib/*" Null.java 2>/dev/null | tee out
grep -q '^null, no schema: null$' out
grep -q '^null, optional schema: {"schema":{"type":"string","optional":true},"payload":null}$' out
