import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.json.JsonConverter;
import org.springframework.kafka.support.serializer.JacksonJsonSerializer;

/** Prints what Kafka Connect's JsonConverter and Spring Kafka's serializer make, a record a line. */
public class Recorded {
    static final Schema CHUNK = SchemaBuilder.struct().name("chunk")
        .field("id", Schema.STRING_SCHEMA).field("content", Schema.STRING_SCHEMA).build();
    static final Schema DOCUMENT = SchemaBuilder.struct().name("document").optional()
        .field("id", Schema.STRING_SCHEMA).field("title", Schema.STRING_SCHEMA)
        .field("source_url", Schema.STRING_SCHEMA).field("technology", Schema.STRING_SCHEMA)
        .field("updated_at", Schema.OPTIONAL_STRING_SCHEMA)
        .field("chunks", SchemaBuilder.array(CHUNK).build()).build();

    static String content(String name) {
        return "Untie the boat, says " + name + ".";
    }

    static Struct struct(String name) {
        Struct chunk = new Struct(CHUNK).put("id", name + "_chunk_0").put("content", content(name));
        return new Struct(DOCUMENT).put("id", name).put("title", "Getting started")
            .put("source_url", "https://docs.example/" + name).put("technology", "publishers")
            .put("chunks", List.of(chunk));
    }

    static Map<String, Object> map(String name) {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("id", name);
        found.put("title", "Getting started");
        found.put("source_url", "https://docs.example/" + name);
        found.put("technology", "publishers");
        found.put("chunks", List.of(Map.of("id", name + "_chunk_0", "content", content(name))));
        return found;
    }

    static String text(String name) {
        return "{\"id\":\"" + name + "\",\"title\":\"Getting started\",\"source_url\":"
            + "\"https://docs.example/" + name + "\",\"technology\":\"publishers\",\"chunks\":"
            + "[{\"id\":\"" + name + "_chunk_0\",\"content\":\"" + content(name) + "\"}]}";
    }

    static String coded(byte[] data) {
        return data == null ? "-" : Base64.getEncoder().encodeToString(data);
    }

    static void print(String name, String producer, byte[] key, byte[] value, Headers headers) {
        StringBuilder line = new StringBuilder(String.join("\t", name, producer, coded(key), coded(value)));
        for (Header each : headers) {
            line.append('\t').append(each.key()).append('=').append(coded(each.value()));
        }
        System.out.println(line);
    }

    static void connect(String version) {
        String producer = "Kafka Connect JsonConverter " + version;
        try (JsonConverter keys = new JsonConverter(); JsonConverter values = new JsonConverter();
             JsonConverter bare = new JsonConverter()) {
            keys.configure(Map.of("schemas.enable", true), true);
            values.configure(Map.of("schemas.enable", true), false);
            bare.configure(Map.of("schemas.enable", false), false);
            Headers none = new RecordHeaders();
            String name = "connect-struct";
            print(name, producer, keys.fromConnectData("t", Schema.STRING_SCHEMA, name),
                values.fromConnectData("t", DOCUMENT, struct(name)), none);
            name = "connect-map";
            print(name, producer, keys.fromConnectData("t", null, name),
                values.fromConnectData("t", null, map(name)), none);
            name = "connect-text";
            print(name, producer, keys.fromConnectData("t", Schema.STRING_SCHEMA, name),
                values.fromConnectData("t", Schema.STRING_SCHEMA, text(name)), none);
            name = "connect-without-schemas";
            print(name, producer, name.getBytes(), bare.fromConnectData("t", DOCUMENT, struct(name)), none);
            name = "connect-tombstone";
            print(name, producer, keys.fromConnectData("t", Schema.STRING_SCHEMA, name),
                values.fromConnectData("t", null, null), none);
            name = "connect-null";
            print(name, producer, keys.fromConnectData("t", Schema.STRING_SCHEMA, name),
                values.fromConnectData("t", DOCUMENT, null), none);
        }
    }

    static void spring(String version) {
        String producer = "Spring Kafka JacksonJsonSerializer " + version;
        try (JacksonJsonSerializer<Object> keys = new JacksonJsonSerializer<>();
             JacksonJsonSerializer<Object> values = new JacksonJsonSerializer<>()) {
            Headers headers = new RecordHeaders();
            String name = "spring-map";
            byte[] value = values.serialize("t", headers, map(name));
            print(name, producer, name.getBytes(), value, headers);
            headers = new RecordHeaders();
            name = "spring-text";
            byte[] key = keys.serialize("t", new RecordHeaders(), name);
            value = values.serialize("t", headers, text(name));
            print(name, producer, key, value, headers);
            name = "spring-tombstone";
            headers = new RecordHeaders();
            key = keys.serialize("t", new RecordHeaders(), name);
            print(name, producer, key, values.serialize("t", headers, null), headers);
        }
    }

    public static void main(String[] versions) {
        connect(versions[0]);
        spring(versions[1]);
    }
}
