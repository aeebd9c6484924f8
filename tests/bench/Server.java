import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.TreeMap;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * A stand-in for AnythingLLM 1.16 that needs some 40 microseconds a request itself, for measuring clients.
 *
 * <p>It keeps what is uploaded and lists it again, asks for no key and never fails. Its shapes are those of the
 * simulated AnythingLLM (consumer/sandbox/simulator), which is the one to test against. A search gives the texts
 * that are equal to its query, then the newest: there are no vectors.
 *
 * <p>{@code java Server.java} listens on a free port of 127.0.0.1, prints it as JSON, and ends with its standard
 * input. {@code POST /_bench/reset} empties it and sets the costs ({@link Costs}); {@code GET /_bench/stats} counts.
 * What is measured begins with the upload that comes after {@code warm_up} others.
 *
 * <p>One thread does everything, so nothing here needs a lock.
 */
public final class Server {
    public static void main(String[] args) throws IOException {
        var parent = new Thread(Server::endWithParent);
        parent.setDaemon(true);
        parent.start();
        new Wire(new Endpoints()).serve();
    }

    private static void endWithParent() {
        try {
            while (System.in.read() >= 0) { }
        } catch (IOException gone) {
            // as the end of the file
        }
        System.exit(0);
    }
}

/**
 * What requests cost, in milliseconds: of the only thread, which serves one request at a time, and besides it.
 *
 * @param upload besides the thread, of an upload
 * @param other besides the thread, of any other request
 * @param threadUpload of the thread, of an upload
 * @param threadPiece of the thread, of each piece that an upload is cut into
 * @param threadOther of the thread, of any other request
 * @param threadSearch of the thread, of a search
 * @param removalName of the thread, of each name that is removed, times the workspaces
 * @param removalAdd of the thread, of each name that is removed, times all that was ever added to its workspace
 */
record Costs(double upload, double other, double threadUpload, double threadPiece, double threadOther,
             double threadSearch, double removalName, double removalAdd) {
    static Costs of(Map<String, Object> given) {
        return new Costs(number(given, "upload"), number(given, "other"), number(given, "thread_upload"),
                number(given, "thread_piece"), number(given, "thread_other"), number(given, "thread_search"),
                number(given, "removal_name"), number(given, "removal_add"));
    }

    private static double number(Map<String, Object> given, String name) {
        return given.get(name) instanceof Double value ? value : 0.0;
    }
}

/** When answers are due: a request waits for the thread, takes its share of it, and then waits beside it. */
final class Clock {
    private long threadFree;

    long due(long now, double threadMillis, double besideMillis) {
        threadFree = Math.max(now, threadFree) + (long) (threadMillis * 1e6);
        return threadFree + (long) (besideMillis * 1e6);
    }
}

record Request(String method, String path, String query, String etag, byte[] body) {
    @SuppressWarnings("unchecked")
    Map<String, Object> json() {
        return body.length == 0 ? Map.of() : (Map<String, Object>) new Json(new String(body, UTF_8)).value();
    }
}

record Answer(int status, String type, byte[] body, String etag) {
    static final Answer PAGE = new Answer(200, "text/html; charset=utf-8", "<html></html>".getBytes(UTF_8), null);
    static final Answer BAD = new Answer(400, "text/plain; charset=utf-8", "Bad Request".getBytes(UTF_8), null);
    static final Answer MISSING = new Answer(404, "text/plain; charset=utf-8", "Not Found".getBytes(UTF_8), null);

    static Answer json(String body) {
        return json(body.getBytes(UTF_8), null);
    }

    static Answer json(byte[] body, String etag) {
        return new Answer(200, "application/json; charset=utf-8", body, etag);
    }
}

/** A file that was uploaded; {@code row} is its line in a workspace's listing. */
final class Stored {
    String location;
    String source;
    String text;
    String shown; // the fields that all answers have in common, without braces
    boolean cached;
    final Map<Workspace, byte[]> rows = new HashMap<>();

    String name() {
        return location.substring(location.indexOf('/') + 1);
    }

    /** How many texts the server's splitter makes of it: 1,000 characters each, 20 of them shared. */
    int pieces() {
        return text.length() <= 1000 ? 1 : 1 + (text.length() - 1000 + 979) / 980;
    }
}

final class Workspace {
    final int id;
    final String slug;
    String name;
    long changes;
    long added;
    final Map<String, Stored> documents = new LinkedHashMap<>();

    Workspace(int id, String name, String slug) {
        this.id = id;
        this.name = name;
        this.slug = slug;
    }

    String fields() {
        return "\"id\":" + id + ",\"name\":" + Json.text(name) + ",\"slug\":" + Json.text(slug)
                + ",\"createdAt\":\"2026-01-01T00:00:00.000Z\",\"openAiTemp\":null,\"openAiHistory\":20"
                + ",\"similarityThreshold\":0.25,\"topN\":4,\"chatMode\":\"chat\",\"vectorSearchMode\":\"default\"";
    }

    /** The listing's bytes: a row was written when its document came. */
    byte[] listing() {
        byte[] head = ("{\"workspace\":[{" + fields() + ",\"documents\":[").getBytes(UTF_8);
        byte[] tail = "],\"threads\":[]}]}".getBytes(UTF_8);
        long rows = documents.values().stream().mapToLong(each -> each.rows.get(this).length + 1L).sum();
        var out = ByteBuffer.allocate(Math.toIntExact(head.length + Math.max(0, rows - 1) + tail.length)).put(head);
        boolean first = true;
        for (Stored each : documents.values()) {
            if (!first) {
                out.put((byte) ',');
            }
            first = false;
            out.put(each.rows.get(this));
        }
        return out.put(tail).array();
    }
}

/** What is stored, and one method an endpoint. An effect comes when its answer is due. */
final class Endpoints {
    private final Map<String, Workspace> workspaces = new LinkedHashMap<>();
    private final Map<String, Stored> files = new TreeMap<>(); // by name, as they are listed
    private Clock clock = new Clock();
    private Costs costs = Costs.of(Map.of("upload", 20.0, "other", 1.0));
    private int created;
    private long numbered;
    private long uploads;
    private long proofs;
    private long calls;
    private long removed;
    private long removals;
    private long listings;
    private long inFlight;
    private long mostInFlight;
    private long arrivals;
    private long warmUp;
    private double measuredFrom;
    private double lastUpload;
    private double lastProof;
    private double lastRemoval;
    private double firstListing;

    /** Nanoseconds at which the answer is due. */
    long arrived(Request request, long now) {
        if (request.path().startsWith("/_bench/")) {
            return now;
        }
        calls++;
        if (request.path().equals("/api/v1/document/raw-text")) {
            if (arrivals++ == warmUp) {
                measuredFrom = seconds();
            }
            mostInFlight = Math.max(mostInFlight, ++inFlight);
            return clock.due(now, costs.threadUpload() + costs.threadPiece() * pieces(request), costs.upload());
        }
        if (request.path().endsWith("/vector-search")) {
            return clock.due(now, costs.threadSearch(), costs.other());
        }
        if (request.path().equals("/api/v1/system/remove-documents")) {
            return clock.due(now, costs.threadOther() + removalMillis(request), costs.other());
        }
        return clock.due(now, costs.threadOther(), costs.other());
    }

    private int pieces(Request request) {
        if (costs.threadPiece() == 0) {
            return 0;
        }
        var stored = new Stored();
        stored.text = (String) request.json().get("textContent");
        return stored.pieces();
    }

    private double removalMillis(Request request) {
        double millis = 0;
        for (Object each : list(request.json(), "names")) {
            Stored file = files.get(after((String) each));
            long added = file == null ? 0 : file.rows.keySet().stream().mapToLong(of -> of.added).sum();
            millis += costs.removalName() * workspaces.size() + costs.removalAdd() * added;
        }
        return millis;
    }

    Answer answer(Request request) {
        String path = request.path();
        String[] parts = path.split("/");
        switch (request.method() + " " + path) {
            case "POST /_bench/reset": return reset(request);
            case "POST /_bench/fill": return fill(request);
            case "GET /_bench/stats": return stats();
            case "GET /api/ping": return Answer.json("{\"online\":true}");
            case "GET /api/utils/metrics": return metrics();
            case "GET /api/v1/auth": return Answer.json("{\"authenticated\":true}");
            case "GET /api/v1/document/accepted-file-types": return Answer.json("{\"types\":{\"text/plain\":[\".txt\"]}}");
            case "GET /api/v1/system/vector-count": return vectorCount();
            case "GET /api/v1/openai/vector_stores": return vectorStores();
            case "POST /api/v1/openai/embeddings": return embeddings(request);
            case "GET /api/v1/workspaces": return listWorkspaces();
            case "POST /api/v1/workspace/new": return newWorkspace(request);
            case "POST /api/v1/document/raw-text": return rawText(request);
            case "POST /api/v1/document/move-files": return moveFiles(request);
            case "DELETE /api/v1/system/remove-documents": return remove(request);
            case "GET /api/v1/documents/folder/custom-documents": return folder(request);
            default: break;
        }
        if (path.startsWith("/api/v1/document/") && parts.length == 5 && request.method().equals("GET")) {
            return document(parts[4]);
        }
        if (path.startsWith("/api/v1/workspace/") && parts.length >= 5) {
            return ofWorkspace(request, parts[4], parts.length > 5 ? parts[5] : "");
        }
        return Answer.PAGE;
    }

    private Answer ofWorkspace(Request request, String slug, String what) {
        Workspace workspace = workspaces.get(slug);
        switch (request.method() + " " + what) {
            case "GET ": return workspace == null ? Answer.json("{\"workspace\":[]}") : listing(workspace, request);
            case "DELETE ": return workspace == null ? Answer.BAD : deleteWorkspace(workspace);
            case "POST update": return workspace == null ? Answer.BAD : rename(workspace, request);
            case "POST update-embeddings": return workspace == null ? Answer.BAD : updateEmbeddings(workspace, request);
            case "POST vector-search": return workspace == null ? Answer.BAD : search(workspace, request);
            default: return Answer.PAGE;
        }
    }

    private Answer reset(Request request) {
        Map<String, Object> given = request.json();
        clock = new Clock();
        costs = Costs.of(given);
        arrivals = uploads = proofs = calls = removed = removals = listings = inFlight = mostInFlight = 0;
        measuredFrom = lastUpload = lastProof = lastRemoval = firstListing = 0;
        warmUp = given.get("warm_up") instanceof Double number ? number.longValue() : 0;
        if (!Boolean.TRUE.equals(given.get("keep"))) {
            empty(list(given, "workspaces"));
        }
        return Answer.json("{}");
    }

    private void empty(List<?> names) {
        workspaces.clear();
        files.clear();
        created = 0;
        for (Object each : names) {
            Workspace workspace = create((String) each);
            Stored first = store("by hand", Map.of("title", "by hand")); // so that its table is there
            add(workspace, first, Instant.EPOCH.plusSeconds(1_700_000_000));
        }
    }

    /** Documents of one short text each, by their metadata: what somebody has stored long ago. */
    @SuppressWarnings("unchecked")
    private Answer fill(Request request) {
        Map<String, Object> given = request.json();
        Workspace workspace = workspaces.get((String) given.get("workspace"));
        for (Object each : list(given, "metadata")) {
            add(workspace, store("long ago", (Map<String, Object>) each), Instant.EPOCH.plusSeconds(1_700_000_000));
        }
        return Answer.json("{}");
    }

    private Answer stats() {
        long rows = workspaces.values().stream().mapToLong(each -> each.documents.size()).sum();
        return Answer.json("{\"uploads\":" + uploads + ",\"proofs\":" + proofs + ",\"calls\":" + calls
                + ",\"listings\":" + listings
                + ",\"removals\":" + removals + ",\"removed\":" + removed + ",\"rows\":" + rows + ",\"most_in_flight\":" + mostInFlight
                + ",\"measured_from\":" + measuredFrom + ",\"last_upload\":" + lastUpload
                + ",\"last_proof\":" + lastProof + ",\"last_removal\":" + lastRemoval + ",\"first_listing\":" + firstListing + "}");
    }

    private static Answer metrics() {
        return Answer.json("{\"online\":true,\"version\":\"--\",\"mode\":\"single-user\",\"vectorDB\":\"lancedb\""
                + ",\"storage\":{\"current\":80,\"capacity\":270},\"appVersion\":\"1.16.0\"}");
    }

    private Answer vectorCount() {
        long count = files.values().stream().mapToLong(each -> (long) each.rows.size() * each.pieces()).sum();
        return Answer.json("{\"vectorCount\":" + count + "}");
    }

    private Answer vectorStores() {
        var shown = new ArrayList<String>();
        for (Workspace each : workspaces.values()) {
            shown.add("{\"id\":" + Json.text(each.slug) + ",\"object\":\"vector_store\",\"name\":" + Json.text(each.name)
                    + ",\"file_counts\":{\"total\":" + each.documents.size() + "},\"provider\":\"lancedb\"}");
        }
        return Answer.json("{\"data\":" + joined(shown) + ",\"has_more\":false}");
    }

    private static Answer embeddings(Request request) {
        Object input = request.json().get("input");
        var shown = new ArrayList<String>();
        for (Object each : input instanceof List<?> texts ? texts : List.of(input)) {
            int hash = each.hashCode();
            shown.add("{\"object\":\"embedding\",\"index\":" + shown.size()
                    + ",\"embedding\":[1," + (hash & 0xffff) / 65536.0 + "," + (hash >>> 16) / 65536.0 + "]}");
        }
        return Answer.json("{\"object\":\"list\",\"data\":" + joined(shown) + ",\"model\":\"none\"}");
    }

    private Answer listWorkspaces() {
        var shown = new ArrayList<String>();
        for (Workspace each : workspaces.values()) {
            shown.add("{" + each.fields() + ",\"threads\":[]}");
        }
        return Answer.json("{\"workspaces\":" + joined(shown) + "}");
    }

    private Answer newWorkspace(Request request) {
        Workspace workspace = create((String) request.json().get("name"));
        return Answer.json("{\"workspace\":{" + workspace.fields() + "},\"message\":null}");
    }

    private Workspace create(String name) {
        String slug = slug(name);
        if (workspaces.containsKey(slug)) {
            slug += "-" + (10_000_000 + created);
        }
        var workspace = new Workspace(++created, name, slug);
        workspaces.put(slug, workspace);
        return workspace;
    }

    private static Answer rename(Workspace workspace, Request request) {
        workspace.name = (String) request.json().get("name");
        workspace.changes++;
        return Answer.json("{\"workspace\":{" + workspace.fields() + "},\"message\":null}");
    }

    private Answer deleteWorkspace(Workspace workspace) {
        workspace.documents.values().forEach(each -> each.rows.remove(workspace));
        workspaces.remove(workspace.slug);
        return new Answer(200, "text/plain; charset=utf-8", "OK".getBytes(UTF_8), null);
    }

    private Answer listing(Workspace workspace, Request request) {
        if (listings++ == 0) {
            firstListing = seconds();
        }
        String etag = "W/\"" + workspace.id + "-" + workspace.changes + "\"";
        if (etag.equals(request.etag())) {
            return new Answer(304, null, new byte[0], etag);
        }
        return Answer.json(workspace.listing(), etag);
    }

    private Answer updateEmbeddings(Workspace workspace, Request request) {
        for (Object each : list(request.json(), "deletes")) {
            Stored file = files.get(after((String) each));
            if (file != null) {
                unlist(workspace, file);
            }
        }
        for (Object each : list(request.json(), "adds")) {
            Stored file = files.get(after((String) each));
            if (file != null) {
                add(workspace, file, Instant.now());
            }
        }
        byte[] listing = workspace.listing(); // an object here, a list of one elsewhere
        int start = "{\"workspace\":[".length();
        var out = new ByteArrayOutputStream(listing.length);
        out.writeBytes("{\"workspace\":".getBytes(UTF_8));
        out.write(listing, start, listing.length - start - 2);
        out.write('}');
        return Answer.json(out.toByteArray(), null);
    }

    private static Answer search(Workspace workspace, Request request) {
        String query = (String) request.json().get("query");
        int top = request.json().get("topN") instanceof Double number ? number.intValue() : 4;
        var found = new ArrayList<Stored>();
        var newest = new ArrayList<>(workspace.documents.values());
        newest.stream().filter(each -> each.text.equals(query)).limit(top).forEach(found::add);
        for (int each = newest.size() - 1; each >= 0 && found.size() < top; each--) {
            if (!newest.get(each).text.equals(query)) {
                found.add(newest.get(each));
            }
        }
        var shown = new ArrayList<String>();
        for (Stored each : found) {
            double distance = each.text.equals(query) ? 0.0 : 0.5;
            shown.add("{\"id\":\"" + each.name() + "\",\"text\":" + Json.text(each.text) + ",\"metadata\":{" + each.shown
                    + "},\"distance\":" + distance + ",\"score\":" + (1 - distance) + "}");
        }
        return Answer.json("{\"results\":" + joined(shown) + "}");
    }

    @SuppressWarnings("unchecked")
    private Answer rawText(Request request) {
        Map<String, Object> body = request.json();
        Stored file = store((String) body.get("textContent"), (Map<String, Object>) body.get("metadata"));
        for (String slug : ((String) body.getOrDefault("addToWorkspaces", "")).split(",")) {
            Workspace workspace = workspaces.get(slug.strip().toLowerCase());
            if (workspace != null) {
                add(workspace, file, Instant.now());
            }
        }
        uploads++;
        inFlight--;
        lastUpload = seconds();
        return Answer.json("{\"success\":true,\"error\":null,\"documents\":[{\"id\":\"" + file.name() + "\"," + file.shown
                + ",\"pageContent\":" + Json.text(file.text) + ",\"location\":" + Json.text(file.location)
                + ",\"isDirectUpload\":false}]}");
    }

    private Stored store(String text, Map<String, Object> metadata) {
        var file = new Stored();
        String title = slug((String) metadata.get("title"));
        file.location = "custom-documents/raw-" + title + "-" + Long.toHexString(0x100000000000L + ++numbered) + ".json";
        file.source = metadata.get("docSource") instanceof String source ? source : "no source set";
        file.text = text;
        file.shown = "\"url\":\"file://" + title + ".txt\",\"title\":\"" + title + ".txt\""
                + ",\"docAuthor\":" + kept(metadata, "docAuthor", "no author specified")
                + ",\"description\":" + kept(metadata, "description", "no description found")
                + ",\"docSource\":" + Json.text(file.source)
                + ",\"chunkSource\":" + kept(metadata, "chunkSource", title + ".txt")
                + ",\"published\":\"11/14/2023, 10:13:20 PM\",\"wordCount\":" + text.length() / 6
                + ",\"token_count_estimate\":" + text.length() / 4;
        files.put(file.name(), file);
        return file;
    }

    private static String kept(Map<String, Object> metadata, String key, String otherwise) {
        return Json.text(metadata.get(key) instanceof String text ? text : otherwise);
    }

    private void add(Workspace workspace, Stored file, Instant when) {
        String now = when.truncatedTo(ChronoUnit.MILLIS).toString();
        String row = "{\"id\":" + ++numbered + ",\"docId\":\"" + file.name() + "\",\"filename\":" + Json.text(file.name())
                + ",\"docpath\":" + Json.text(file.location) + ",\"workspaceId\":" + workspace.id
                + ",\"metadata\":" + Json.text("{" + file.shown + "}")
                + ",\"pinned\":false,\"watched\":false,\"createdAt\":\"" + now + "\",\"lastUpdatedAt\":\"" + now + "\"}";
        file.cached = true;
        file.rows.put(workspace, row.getBytes(UTF_8));
        workspace.documents.put(file.location, file);
        workspace.added++;
        workspace.changes++;
    }

    private static void unlist(Workspace workspace, Stored file) {
        file.rows.remove(workspace);
        workspace.documents.remove(file.location);
        workspace.changes++;
    }

    private Answer document(String name) {
        Stored file = files.get(name);
        if (file == null) {
            return Answer.MISSING;
        }
        proofs++;
        lastProof = seconds();
        return Answer.json("{\"document\":" + shown(file) + "}");
    }

    private static String shown(Stored file) {
        return "{\"name\":" + Json.text(file.name()) + ",\"type\":\"file\"," + file.shown + ",\"cached\":" + file.cached
                + ",\"canWatch\":false,\"pinnedWorkspaces\":[],\"watched\":false}";
    }

    private Answer folder(Request request) {
        int offset = 0;
        int limit = files.size();
        for (String each : request.query().split("&")) {
            if (each.startsWith("offset=")) {
                offset = Integer.parseInt(each.substring(7));
            } else if (each.startsWith("limit=") && !each.equals("limit=all")) {
                limit = Math.min(1000, Integer.parseInt(each.substring(6)));
            }
        }
        var shown = new ArrayList<String>();
        files.values().stream().skip(offset).limit(limit).forEach(each -> shown.add(shown(each)));
        return Answer.json("{\"folder\":\"custom-documents\",\"documents\":" + joined(shown) + ",\"totalCount\":" + files.size()
                + ",\"hasMore\":" + (offset + shown.size() < files.size()) + ",\"error\":null}");
    }

    @SuppressWarnings("unchecked")
    private Answer moveFiles(Request request) {
        for (Object each : list(request.json(), "files")) {
            var names = (Map<String, Object>) each;
            Stored file = files.get(after((String) names.get("from")));
            if (file != null && file.rows.isEmpty()) {
                files.remove(file.name());
                file.location = (String) names.get("to");
                files.put(file.name(), file);
            }
        }
        return Answer.json("{\"success\":true,\"message\":null}");
    }

    private Answer remove(Request request) {
        removals++;
        lastRemoval = seconds();
        for (Object each : list(request.json(), "names")) {
            Stored file = files.remove(after((String) each));
            if (file != null) {
                List.copyOf(file.rows.keySet()).forEach(workspace -> unlist(workspace, file));
                removed++;
            }
        }
        return Answer.json("{\"success\":true,\"message\":\"Documents removed successfully\"}");
    }

    private static double seconds() {
        var now = Instant.now();
        return now.getEpochSecond() + now.getNano() / 1e9;
    }

    private static String slug(String name) {
        var slug = new StringBuilder();
        for (char each : name.toLowerCase().toCharArray()) {
            boolean allowed = each < 128 && Character.isLetterOrDigit(each) || each == '-' || each == '_';
            slug.append(allowed ? each : '-');
        }
        return slug.toString();
    }

    private static String after(String location) {
        return location.substring(location.indexOf('/') + 1);
    }

    private static List<?> list(Map<String, Object> body, String key) {
        return body.get(key) instanceof List<?> list ? list : List.of();
    }

    private static String joined(Collection<String> items) {
        return "[" + String.join(",", items) + "]";
    }
}

/** As much of JSON as requests have: objects, lists, texts, numbers (as doubles), true, false, null. */
final class Json {
    private final String text;
    private int at;

    Json(String text) {
        this.text = text;
    }

    Object value() {
        blanks();
        char first = text.charAt(at);
        switch (first) {
            case '{': return object();
            case '[': return list();
            case '"': return string();
            case 't': at += 4; return true;
            case 'f': at += 5; return false;
            case 'n': at += 4; return null;
            default: return number();
        }
    }

    private Map<String, Object> object() {
        var fields = new HashMap<String, Object>();
        while (more('}')) {
            String name = string();
            blanks();
            at++; // the colon
            fields.put(name, value());
        }
        return fields;
    }

    private List<Object> list() {
        var items = new ArrayList<>();
        while (more(']')) {
            items.add(value());
        }
        return items;
    }

    /** Step over an opening bracket or a comma; false, and over it, at the end. */
    private boolean more(char end) {
        at += text.charAt(at) == end ? 0 : 1;
        blanks();
        if (text.charAt(at) == ',') {
            at++;
            blanks();
        }
        if (text.charAt(at) != end) {
            return true;
        }
        at++;
        return false;
    }

    private String string() {
        int start = ++at;
        while (text.charAt(at) != '"' && text.charAt(at) != '\\') {
            at++;
        }
        if (text.charAt(at) == '"') {
            return text.substring(start, at++);
        }
        var read = new StringBuilder(text.substring(start, at));
        for (char each; (each = text.charAt(at++)) != '"'; ) {
            read.append(each == '\\' ? escaped() : each);
        }
        return read.toString();
    }

    private char escaped() {
        char each = text.charAt(at++);
        switch (each) {
            case 'n': return '\n';
            case 't': return '\t';
            case 'r': return '\r';
            case 'b': return '\b';
            case 'f': return '\f';
            case 'u': at += 4; return (char) Integer.parseInt(text.substring(at - 4, at), 16);
            default: return each;
        }
    }

    private Double number() {
        int start = at;
        while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        return Double.valueOf(text.substring(start, at));
    }

    private void blanks() {
        while (at < text.length() && text.charAt(at) <= ' ') {
            at++;
        }
    }

    static String text(String value) {
        int plain = 0;
        while (plain < value.length() && isPlain(value.charAt(plain))) {
            plain++;
        }
        if (plain == value.length()) {
            return '"' + value + '"';
        }
        var out = new StringBuilder(value.length() + 64).append('"');
        for (int at = 0; at < value.length(); at++) {
            char each = value.charAt(at);
            if (isPlain(each)) {
                out.append(each);
            } else if (each >= ' ') {
                out.append('\\').append(each);
            } else {
                out.append(each == '\n' ? "\\n" : String.format("\\u%04x", (int) each));
            }
        }
        return out.append('"').toString();
    }

    private static boolean isPlain(char each) {
        return each >= ' ' && each != '"' && each != '\\';
    }
}

/** One connection: what has come of the next request, what has still to be sent. */
final class Connection {
    byte[] received = new byte[8192];
    int length;
    boolean busy; // an answer is under way: the next request waits in the buffer
    ByteBuffer head; // of what has still to be sent
    ByteBuffer unsent;

    /** Takes the next request out of the buffer; null while it is not complete. */
    Request next() {
        int head = headEnd();
        if (head < 0) {
            return null;
        }
        String lines = new String(received, 0, head, ISO_8859_1);
        String given = header(lines, "content-length");
        int body = given == null ? 0 : Integer.parseInt(given);
        if (length < head + 4 + body) {
            return null;
        }
        int method = lines.indexOf(' ');
        String target = lines.substring(method + 1, lines.indexOf(' ', method + 1));
        int query = target.indexOf('?');
        String path = query < 0 ? target : target.substring(0, query);
        byte[] content = Arrays.copyOfRange(received, head + 4, head + 4 + body);
        length -= head + 4 + body;
        System.arraycopy(received, head + 4 + body, received, 0, length);
        String asked = query < 0 ? "" : target.substring(query + 1);
        return new Request(lines.substring(0, method), path, asked, header(lines, "if-none-match"), content);
    }

    private static String header(String lines, String name) {
        for (int start = lines.indexOf("\r\n"); start >= 0; start = lines.indexOf("\r\n", start + 2)) {
            if (lines.regionMatches(true, start + 2, name, 0, name.length()) && lines.charAt(start + 2 + name.length()) == ':') {
                int end = lines.indexOf("\r\n", start + 2);
                return lines.substring(start + 3 + name.length(), end < 0 ? lines.length() : end).strip();
            }
        }
        return null;
    }

    private int headEnd() {
        for (int at = 3; at < length; at++) {
            if (received[at] == '\n' && received[at - 1] == '\r' && received[at - 2] == '\n' && received[at - 3] == '\r') {
                return at - 3;
            }
        }
        return -1;
    }
}

/** Sockets and time: reads requests, lets each wait until it is due, sends its answer. */
final class Wire {
    private static final DateTimeFormatter DATE = DateTimeFormatter.RFC_1123_DATE_TIME;

    private record Due(long at, long order, SelectionKey key, Request request) { }

    private final Endpoints endpoints;
    private final PriorityQueue<Due> waiting = new PriorityQueue<>(
            (one, other) -> one.at != other.at ? Long.compare(one.at, other.at) : Long.compare(one.order, other.order));
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(256 * 1024);
    private long order;
    private long dated;
    private String date;

    Wire(Endpoints endpoints) {
        this.endpoints = endpoints;
    }

    void serve() throws IOException {
        var selector = Selector.open();
        var listening = ServerSocketChannel.open();
        listening.bind(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 1024);
        listening.configureBlocking(false);
        listening.register(selector, SelectionKey.OP_ACCEPT);
        int port = ((InetSocketAddress) listening.getLocalAddress()).getPort();
        System.out.println("{\"endpoint\":\"http://127.0.0.1:" + port + "\"}");
        while (true) {
            waitFor(selector);
            for (var key : selector.selectedKeys()) {
                handle(key, selector);
            }
            selector.selectedKeys().clear();
            for (long now = System.nanoTime(); !waiting.isEmpty() && waiting.peek().at <= now; ) {
                answer(waiting.poll());
            }
        }
    }

    private void waitFor(Selector selector) throws IOException {
        if (waiting.isEmpty()) {
            selector.select();
            return;
        }
        long nanos = waiting.peek().at - System.nanoTime();
        if (nanos <= 0) {
            selector.selectNow();
        } else {
            selector.select(Math.max(1, nanos / 1_000_000));
        }
    }

    private void handle(SelectionKey key, Selector selector) throws IOException {
        if (key.isAcceptable()) {
            SocketChannel channel = ((ServerSocketChannel) key.channel()).accept();
            channel.configureBlocking(false);
            channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
            channel.register(selector, SelectionKey.OP_READ, new Connection());
            return;
        }
        try {
            if (key.isReadable()) {
                read(key);
            }
            if (key.isValid() && key.isWritable()) {
                send(key);
            }
        } catch (IOException broken) {
            close(key);
        }
    }

    private void read(SelectionKey key) throws IOException {
        var connection = (Connection) key.attachment();
        buffer.clear();
        int count = ((SocketChannel) key.channel()).read(buffer);
        if (count < 0) {
            close(key);
            return;
        }
        if (connection.length + count > connection.received.length) {
            connection.received = Arrays.copyOf(connection.received, 2 * (connection.length + count));
        }
        buffer.flip().get(connection.received, connection.length, count);
        connection.length += count;
        take(key, connection);
    }

    private void take(SelectionKey key, Connection connection) {
        Request request = connection.busy ? null : connection.next();
        if (request != null) {
            connection.busy = true;
            long due = endpoints.arrived(request, System.nanoTime());
            waiting.add(new Due(due, order++, key, request));
        }
    }

    /** The effect comes also where nobody waits for the answer any more. */
    private void answer(Due due) {
        Answer answer = endpoints.answer(due.request);
        if (!due.key.isValid()) {
            return;
        }
        var connection = (Connection) due.key.attachment();
        connection.head = ByteBuffer.wrap(head(answer).getBytes(ISO_8859_1));
        connection.unsent = ByteBuffer.wrap(answer.body());
        try {
            send(due.key);
        } catch (IOException broken) {
            close(due.key);
        }
    }

    private void send(SelectionKey key) throws IOException {
        var connection = (Connection) key.attachment();
        if (connection.unsent == null) {
            return;
        }
        if (!pour((SocketChannel) key.channel(), connection)) {
            key.interestOps(SelectionKey.OP_READ | SelectionKey.OP_WRITE);
            return;
        }
        connection.head = connection.unsent = null;
        connection.busy = false;
        key.interestOps(SelectionKey.OP_READ);
        take(key, connection);
    }

    /** Piece by piece through one buffer, as a write of an array copies all that is left of it; true when all is sent. */
    private boolean pour(SocketChannel channel, Connection connection) throws IOException {
        while (connection.head.hasRemaining() || connection.unsent.hasRemaining()) {
            buffer.clear();
            copy(connection.head);
            copy(connection.unsent);
            buffer.flip();
            channel.write(buffer);
            int unsent = buffer.remaining();
            int ofBody = Math.min(unsent, connection.unsent.position());
            connection.unsent.position(connection.unsent.position() - ofBody);
            connection.head.position(connection.head.position() - (unsent - ofBody));
            if (unsent > 0) {
                return false;
            }
        }
        return true;
    }

    private void copy(ByteBuffer from) {
        int count = Math.min(from.remaining(), buffer.remaining());
        buffer.put(from.slice(from.position(), count));
        from.position(from.position() + count);
    }

    private String head(Answer answer) {
        String words = answer.status() == 200 ? "200 OK" : answer.status() + " Other";
        return "HTTP/1.1 " + words + "\r\nX-Powered-By: Express\r\n"
                + (answer.type() == null ? "" : "Content-Type: " + answer.type() + "\r\n")
                + "Content-Length: " + answer.body().length + "\r\n"
                + (answer.etag() == null ? "" : "ETag: " + answer.etag() + "\r\n")
                + "Date: " + date() + "\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n";
    }

    private String date() {
        long second = System.currentTimeMillis() / 1000;
        if (second != dated) {
            dated = second;
            date = DATE.format(ZonedDateTime.ofInstant(Instant.ofEpochSecond(second), ZoneOffset.UTC));
        }
        return date;
    }

    private static void close(SelectionKey key) {
        key.cancel();
        try {
            key.channel().close();
        } catch (IOException already) {
            // closed is closed
        }
    }
}
