package api

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"github.com/outboxd/outboxd/admin"
)

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	stringerType = reflect.TypeFor[fmt.Stringer]()
	rowType      = reflect.TypeFor[admin.Row]()
)

// idOf writes an intent's name so that it fits a path: base64url. Names may hold anything.
func idOf(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

// nameOf reads what idOf wrote.
func nameOf(id string) (string, bool) {
	name, err := base64.RawURLEncoding.Strict().DecodeString(id)
	return string(name), err == nil && len(name) > 0
}

// render writes a value of the service for JSON: keys in snake case, instants in UTC, durations as milliseconds under
// a key that says so. An instant that is not known is left out.
func render(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return render(v.Elem())
	case reflect.Struct:
		if v.Type() == timeType {
			return v.Interface().(time.Time).UTC()
		}
		if text, ok := v.Interface().(fmt.Stringer); ok {
			return text.String()
		}
		m := make(map[string]any)
		renderFields(v, m)
		return m
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v.Interface()
		}
		list := make([]any, v.Len()) // of nil too: a client need not tell null from an empty list
		for i := range list {
			list[i] = render(v.Index(i))
		}
		return list
	case reflect.Map:
		m := make(map[string]any, v.Len())
		for it := v.MapRange(); it.Next(); {
			m[it.Key().String()] = render(it.Value())
		}
		return m
	default:
		return v.Interface()
	}
}

func renderFields(v reflect.Value, m map[string]any) {
	for i := range v.NumField() {
		f, field := v.Type().Field(i), v.Field(i)
		switch {
		case f.Anonymous && field.Kind() == reflect.Struct:
			renderFields(field, m)
		case !f.IsExported() || f.Type == timeType && field.IsZero():
		case f.Type == durationType:
			m[snake(f.Name)+"_ms"] = field.Interface().(time.Duration).Milliseconds()
		default:
			m[snake(f.Name)] = render(field)
		}
	}
	if v.Type() == rowType {
		m["id"] = idOf(v.Interface().(admin.Row).Name)
	}
}

// shapeOf describes what render writes and what read takes.
func shapeOf(t reflect.Type) *huma.Schema {
	switch t.Kind() {
	case reflect.Pointer:
		return shapeOf(t.Elem())
	case reflect.Struct:
		if t == timeType {
			return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
		}
		if t.Implements(stringerType) {
			return &huma.Schema{Type: huma.TypeString}
		}
		s := &huma.Schema{Type: huma.TypeObject, Properties: make(map[string]*huma.Schema)}
		shapeFields(t, s)
		return s
	case reflect.Slice, reflect.Array:
		return &huma.Schema{Type: huma.TypeArray, Items: shapeOf(t.Elem())}
	case reflect.Map:
		return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: shapeOf(t.Elem())}
	case reflect.String:
		return &huma.Schema{Type: huma.TypeString}
	case reflect.Bool:
		return &huma.Schema{Type: huma.TypeBoolean}
	case reflect.Float32, reflect.Float64:
		return &huma.Schema{Type: huma.TypeNumber}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &huma.Schema{Type: huma.TypeInteger}
	default:
		return &huma.Schema{}
	}
}

func shapeFields(t reflect.Type, s *huma.Schema) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			shapeFields(f.Type, s)
			continue
		case !f.IsExported():
			continue
		case name == "" && f.Type == durationType:
			name = snake(f.Name) + "_ms"
		case name == "":
			name = snake(f.Name)
		}
		s.Properties[name] = shapeOf(f.Type)
	}
	if t == rowType {
		s.Properties["id"] = &huma.Schema{Type: huma.TypeString, Description: "For paths: the name in base64url."}
	}
}

// snake writes a Go name in snake case: HTTPStatus is http_status.
func snake(name string) string {
	runes := []rune(name)
	var b strings.Builder
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
