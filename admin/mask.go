package admin

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/outboxd/outboxd/outbox"
)

const (
	dots = "•••"
	// inner is the name under which the values of a free form are masked: it is none of a payload's own fields.
	inner = "*"
)

var (
	phoneLike = regexp.MustCompile(`^\+[0-9]{6,15}$`)
	mailLike  = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.[^@\s.]+$`)
)

// plain are the fields of payloads whose values say nothing about a person.
var plain = []string{"amount", "currency", "validity_seconds", "template_id", "messaging_service_sid", "disposition"}

// MaskText masks a text by what it looks like. Of a phone number the first and the last digits stay, of an e-mail
// address the first letters, and of any other text its length.
func MaskText(text string) string {
	switch {
	case text == "":
		return ""
	case phoneLike.MatchString(text):
		return text[:3] + "•••••" + text[len(text)-3:]
	case mailLike.MatchString(text):
		at := strings.LastIndexByte(text, '@')
		domain, ending := text[at+1:], ""
		if dot := strings.LastIndexByte(domain, '.'); dot >= 0 {
			domain, ending = domain[:dot], domain[dot:]
		}
		return first(text) + dots + "@" + first(domain) + dots + ending
	default:
		return fmt.Sprintf("%s (%d characters)", dots, utf8.RuneCountInString(text))
	}
}

// first returns the first character.
func first(text string) string {
	_, size := utf8.DecodeRuneInString(text)
	return text[:size]
}

// Mask returns a copy of a payload's value in which everything is masked by its type. Keys stay, as well as amounts,
// currencies and what else says nothing about a person.
func Mask(v any) any { return mask("", v) }

func mask(field string, v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case string:
		if slices.Contains(plain, field) {
			return v
		}
		return MaskText(v)
	case map[string]any:
		masked := make(map[string]any, len(v))
		for key, value := range v {
			name := key
			if field != "" { // the names below the payload's own are the producer's
				name = inner
			}
			masked[key] = mask(name, value)
		}
		return masked
	case []any:
		masked := make([]any, len(v))
		for i, item := range v {
			masked[i] = mask(field, item)
		}
		return masked
	case int64, float64:
		if slices.Contains(plain, field) {
			return v
		}
		return dots
	default:
		return maskOther(v)
	}
}

// maskOther masks what only package outbox has a type for, and everything else whole.
func maskOther(v any) any {
	fields, ok := v.(outbox.Fields)
	if !ok {
		return dots
	}
	masked := make(outbox.Fields, len(fields))
	for i, f := range fields {
		masked[i] = outbox.Field{Name: f.Name, Value: mask(inner, f.Value)}
	}
	return masked
}
