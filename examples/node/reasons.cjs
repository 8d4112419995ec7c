// reasons(error.errInfo) says in words why MongoDB refused a document (error 121): one line for each reason. It leaves out
// consideredValue, which repeats the document's telephone numbers and addresses, so its lines may be logged.
const LISTS = ["details", "schemaRulesNotSatisfied", "propertiesNotSatisfied", "schemasNotSatisfied", "clausesNotSatisfied"];
const below = (node) => LISTS.flatMap((list) => node[list] ?? []).filter((item) => typeof item === "object");
const described = (node) => "description" in node || below(node).some(described);

exports.reasons = function reasons(node, path = "", text = "") {
  path = [path, node.propertyName].filter(Boolean).join(".");
  text = node.description ?? text;
  const alternatives = ["anyOf", "$or"].includes(node.operatorName);
  const inner = below(node).filter((item) => !alternatives || described(item));
  if (inner.length > 0) return [...new Set(inner.flatMap((item) => reasons(item, path, text)))];
  const names = (label, list) => (list ? `${label} ${list.join(", ")}. ` : "");
  const found = names("missing", node.missingProperties) + names("unknown", node.additionalProperties);
  return text ? [(path && path + ": ") + found + text] : [];
};
