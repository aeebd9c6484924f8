import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/** Reads lines {kind, value} with models that were generated, and prints what comes out of them. */
public final class Read {
    public static void main(String[] words) throws Exception {
        ObjectMapper mapper = new ObjectMapper().findAndRegisterModules();
        mapper.disable(SerializationFeature.WRITE_DATES_AS_TIMESTAMPS);
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader in =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode told = mapper.readTree(line);
            String text = mapper.writeValueAsString(told.get("value"));
            out.println(
                    words[0].equals("quicktype")
                            ? quick.Converter.toJsonString(quick.Converter.fromJsonString(text))
                            : mapper.writeValueAsString(
                                    mapper.readValue(
                                            text,
                                            Class.forName("models." + told.get("kind").asText()))));
        }
        out.flush();
    }
}
