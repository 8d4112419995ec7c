import java.util.List;
import java.util.stream.Stream;
import org.bson.BsonArray;
import org.bson.BsonDocument;
import org.bson.BsonNull;
import org.bson.BsonString;
import org.bson.BsonValue;

/** Says in words why MongoDB refused a document (error 121). */
public final class OutboxReasons {
  private static final List<String> LISTS = List.of("details", "schemaRulesNotSatisfied", "propertiesNotSatisfied", "schemasNotSatisfied", "clausesNotSatisfied");

  /**
   * Takes the details of a MongoWriteException's error, and returns one line for each reason. It leaves out
   * consideredValue, which repeats the document's telephone numbers and addresses, so its lines may be logged.
   */
  public static List<String> of(BsonDocument errInfo) { return find(errInfo, "", "").distinct().toList(); }

  private static Stream<String> find(BsonDocument node, String outer, String above) {
    String path = Stream.of(outer, text(node, "propertyName", "")).filter(s -> !s.isEmpty()).reduce((a, b) -> a + "." + b).orElse("");
    String text = text(node, "description", above);
    boolean alternatives = List.of("anyOf", "$or").contains(text(node, "operatorName", ""));
    List<BsonDocument> inner = below(node).filter(item -> !alternatives || described(item)).toList();
    if (!inner.isEmpty()) return inner.stream().flatMap(item -> find(item, path, text));
    String found = names("missing ", node.get("missingProperties")) + names("unknown ", node.get("additionalProperties"));
    return text.isEmpty() ? Stream.of() : Stream.of((path.isEmpty() ? "" : path + ": ") + found + text);
  }

  private static Stream<BsonDocument> below(BsonDocument node) {
    return LISTS.stream().map(list -> node.get(list, BsonNull.VALUE))
        .flatMap(v -> v instanceof BsonArray list ? list.stream() : Stream.of(v))
        .filter(BsonValue::isDocument).map(BsonValue::asDocument);
  }

  private static boolean described(BsonDocument node) { return node.containsKey("description") || below(node).anyMatch(OutboxReasons::described); }

  private static String text(BsonDocument node, String field, String otherwise) { return node.getString(field, new BsonString(otherwise)).getValue(); }

  private static String names(String label, BsonValue list) {
    return list == null ? "" : label + String.join(", ", list.asArray().stream().map(v -> v.asString().getValue()).toList()) + ". ";
  }
}
