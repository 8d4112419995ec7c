package outbox

import "strings"

const wantAddress = "an e-mail address, or {email, name}"

// address reads an address: a string, or {email, name}.
func (r *reader) address(field string, p presence) Address {
	v, ok := r.value(field, p)
	if !ok {
		return Address{}
	}
	return r.addressOf(field, v)
}

// addresses reads an array of addresses.
func (r *reader) addresses(field string) []Address {
	var list []Address
	for i, item := range r.array(field, maxRecipients-1) {
		list = append(list, r.addressOf(field+"."+itoa(i), item))
	}
	return list
}

func (r *reader) addressOf(field string, v any) Address {
	switch v := v.(type) {
	case later:
		return Address{}
	case string:
		if !isEmail(v) {
			r.problem(field, "must be "+wantAddress)
		}
		return Address{Email: v}
	case map[string]any, Fields:
		doc, _ := asDocument(v)
		s := newReader(doc, r.path+field+".", r.problems)
		a := Address{Email: s.pattern("email", required, isEmail, "an e-mail address"), Name: s.text("name", optional, 0)}
		s.rest()
		return a
	default:
		r.problem(field, "must be "+wantAddress)
		return Address{}
	}
}

// isEmail asks for little: what an address may be is the provider's to say.
func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && at < len(s)-1 && !strings.ContainsAny(s, " \t\r\n")
}
