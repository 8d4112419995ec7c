"""Says in words why MongoDB refused a document (error 121)."""

LISTS = ("details", "schemaRulesNotSatisfied", "propertiesNotSatisfied", "schemasNotSatisfied", "clausesNotSatisfied")


def below(node):
    items = [item for name in LISTS for item in (node[name] if isinstance(node.get(name), list) else [node.get(name)])]
    return [item for item in items if isinstance(item, dict)]


def described(node):
    return "description" in node or any(map(described, below(node)))


def reasons(node, path="", text=""):
    """Takes error.details["errInfo"], and returns one line for each reason. It leaves out consideredValue, which repeats
    the document's telephone numbers and addresses, so its lines may be logged."""
    path = ".".join(filter(None, [path, node.get("propertyName")]))
    text = node.get("description", text)
    inner = [item for item in below(node) if node.get("operatorName") not in ("anyOf", "$or") or described(item)]
    if inner:
        return list(dict.fromkeys(line for item in inner for line in reasons(item, path, text)))
    found = [f"{label} {', '.join(node[name])}." for label, name in (("missing", "missingProperties"), ("unknown", "additionalProperties")) if name in node]
    return [(path + ": " if path else "") + " ".join([*found, text])] if text else []
