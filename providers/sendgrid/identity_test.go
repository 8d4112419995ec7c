package sendgrid

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/providertest"
)

// args is an e-mail of the log with the given custom arguments.
func args(labels map[string]string) providertest.Reply {
	data, err := json.Marshal(map[string]any{"sg_message_id": messageID, "to_email": recipient, "status": "delivered", "custom_args": labels})
	if err != nil {
		panic(err) // strings can be encoded
	}
	return providertest.JSON(200, string(data))
}

// TestLookUpMatchesAllLabels meets e-mails that carry the intent's outbox_id and are not, or perhaps not, the intent's.
func TestLookUpMatchesAllLabels(t *testing.T) {
	object := outbox.NewObjectID([12]byte{1, 2, 3})
	label := func(id, ns, key string) map[string]string {
		return map[string]string{"outbox_id": id, "outbox_ns": ns, "outbox_key": key}
	}
	for name, row := range map[string]struct {
		labels map[string]string
		found  bool
		code   string
	}{
		"ours":                      {label(object.String(), "test", "o1"), true, ""},
		"of another outbox":         {label(object.String(), "another", "o1"), false, ""},
		"of the string of that hex": {label(object.String(), "test", "s1"), false, ""},
		"of an earlier generation":  {label(object.String(), "test", "o0"), false, ""},
		"of another id":             {label("x", "test", "o1"), false, ""},
		"of older code":             {map[string]string{"outbox_id": object.String()}, false, outbox.CodeCannotTell},
		"of older code, another id": {map[string]string{"outbox_id": "x"}, false, ""},
		"without labels":            {nil, false, ""},
	} {
		server, p := scripted(t)
		server.Script(providertest.JSON(200, listed(messageID)), args(row.labels))
		in := newIntent()
		in.ID, in.Generation = object, 1
		answer, err := p.LookUp(t.Context(), in)
		if answer.Found != row.found || (err != nil) != (row.code != "") || answer.Certain {
			t.Errorf("%s: %+v, %v", name, answer, err)
		}
		if err != nil && providertest.Failed(t, err).Code != row.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLookUpOfAnAddressInAnotherCase asks for each way in which the log may keep an address; one that is tagged with a
// plus is another address.
func TestLookUpOfAnAddressInAnotherCase(t *testing.T) {
	for to, spellings := range map[string][]string{
		"reader@private.example":      {"reader@private.example"},
		"Reader@Private.Example":      {"Reader@Private.Example", "Reader@private.example", "reader@private.example"},
		"reader@PRIVATE.example":      {"reader@PRIVATE.example", "reader@private.example"},
		"Reader+News@private.example": {"Reader+News@private.example", "reader+news@private.example"},
		"reader+news@private.example": {"reader+news@private.example"},
	} {
		for kept := range spellings {
			server, p := scripted(t)
			in := newIntent()
			in.Payload.(*outbox.Email).To.Email = to
			var script []providertest.Reply
			for n := range spellings {
				ids := []string{}
				if n == kept {
					ids = append(ids, messageID)
				}
				script = append(script, providertest.JSON(200, listed(ids...)))
			}
			server.Script(append(script, providertest.JSON(200, shown(messageID, "mail-17")))...)
			if answer, err := p.LookUp(t.Context(), in); err != nil || !answer.Found {
				t.Errorf("%s, kept as %s: %+v, %v", to, spellings[kept], answer, err)
			}
			for n, spelling := range spellings {
				if body := server.Requests()[n].Body; !strings.Contains(body, fmt.Sprintf("to_email = '%s' AND", spelling)) {
					t.Errorf("%s: asked %s, want %s", to, body, spelling)
				}
			}
		}
	}
}

// TestLookUpSeesAnEMailOnce where two spellings show the same one.
func TestLookUpSeesAnEMailOnce(t *testing.T) {
	server, p := scripted(t)
	in := newIntent()
	in.Payload.(*outbox.Email).To.Email = "Reader@private.example"
	list := providertest.JSON(200, listed(messageID))
	server.Script(list, list, providertest.JSON(200, shown(messageID, "mail-18")))
	if answer, err := p.LookUp(t.Context(), in); err != nil || answer.Found {
		t.Errorf("%+v, %v", answer, err)
	}
	if n := len(server.Requests()); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}
