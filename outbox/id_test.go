package outbox

import (
	"bytes"
	"testing"
)

func TestIDTextAndBytes(t *testing.T) {
	object := [12]byte{0x65, 0xa1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xff}
	uuid := [16]byte{0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0}
	rows := []struct {
		id    ID
		typ   IDType
		text  string
		bytes []byte
	}{
		{ID{}, 0, "", nil},
		{NewStringID("order-1:charge"), StringID, "order-1:charge", nil},
		{NewObjectID(object), ObjectID, "65a10001020304050607" + "08ff", object[:]},
		{NewUUID(uuid), UUIDBinary, "123e4567-e89b-12d3-a456-426614174000", uuid[:]},
	}
	for _, r := range rows {
		if r.id.Type() != r.typ || r.id.String() != r.text || !bytes.Equal(r.id.Bytes(), r.bytes) || r.id.IsZero() != (r.typ == 0) {
			t.Errorf("%q: got type %d, bytes %x", r.text, r.id.Type(), r.id.Bytes())
		}
	}
	if NewObjectID(object) == NewStringID(NewObjectID(object).String()) {
		t.Error("an ObjectId and a string with its text are the same id")
	}
}

func TestKeyDependsOnIDAndGenerationAlone(t *testing.T) {
	in := &Intent{ID: NewStringID("order-1"), Attempts: 4, Lease: Lease{Token: "t", Owner: "w"}}
	if got := in.Key(); got != "order-1" {
		t.Errorf("got %q", got)
	}
	in.Generation = 2
	if got := in.Key(); got != "order-1:g2" {
		t.Errorf("got %q", got)
	}
}
