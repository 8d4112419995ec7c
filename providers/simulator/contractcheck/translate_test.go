package contractcheck

import (
	"fmt"
	"slices"
	"strings"
)

// The keywords that OpenAPI's schemas share with JSON Schema, and those that assert nothing.
var (
	shared = strings.Fields(`$ref type enum const required pattern format minLength maxLength minimum maximum minItems maxItems
		uniqueItems minProperties maxProperties multipleOf`)
	silent = strings.Fields("description title default example examples deprecated readOnly writeOnly externalDocs nullable")
)

// translateAll makes JSON Schema of all schemas of an OpenAPI document, in place.
func translateAll(v any) error {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if err := translateAll(item); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, value := range v {
			var err error
			switch group, isGroup := value.(map[string]any); {
			case strings.HasPrefix(key, "x-"):
			case key == "schema":
				v[key], err = translate(value)
			case key == "schemas" && isGroup:
				v[key], err = translateEach(group)
			default:
				err = translateAll(value)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return nil
}

func translateEach(group map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(group))
	for name, schema := range group {
		var err error
		if out[name], err = translate(schema); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return out, nil
}

// translate makes a JSON Schema of an OpenAPI schema, and a strict one: an object that names its properties has no
// others. It fails for a keyword it does not know, lest that be passed over.
func translate(v any) (any, error) {
	in, ok := v.(map[string]any)
	if !ok {
		return v, nil // a boolean schema
	}
	out := make(map[string]any, len(in)+1)
	for word, value := range in {
		var err error
		switch {
		case slices.Contains(shared, word):
			out[word] = value
		case word == "properties":
			properties, _ := value.(map[string]any)
			out[word], err = translateEach(properties)
			if in["additionalProperties"] == nil && len(properties) > 0 {
				out["additionalProperties"] = false
			}
		case word == "items" || word == "additionalProperties":
			out[word], err = translate(value)
		case word == "anyOf" || word == "oneOf":
			out[word], err = translateList(value)
		case slices.Contains(silent, word) || strings.HasPrefix(word, "x-"):
		default:
			err = fmt.Errorf("the keyword %s is not known here", word)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
	}
	if in["nullable"] == true {
		return map[string]any{"anyOf": []any{out, map[string]any{"type": "null"}}}, nil
	}
	return out, nil
}

func translateList(v any) ([]any, error) {
	in, _ := v.([]any)
	out := make([]any, len(in))
	for i, schema := range in {
		var err error
		if out[i], err = translate(schema); err != nil {
			return nil, err
		}
	}
	return out, nil
}
