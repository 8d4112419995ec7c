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

func TestKeyTellsWhereAnIntentLivesAndWhatItIs(t *testing.T) {
	in := func(ns string, id ID, generation int) *Intent {
		return &Intent{Namespace: ns, ID: id, Generation: generation, Attempts: 4, Lease: Lease{Token: "t", Owner: "w"}}
	}
	object := NewObjectID([12]byte{0x65, 0xa1})
	rows := []struct {
		in   *Intent
		step string
		want string
	}{
		{in("k3m9x0q2ab", NewStringID("order-7"), 0), "confirm", "k3m9x0q2ab/s0/confirm/order-7"},
		{in("k3m9x0q2ab", NewStringID("order-7"), 2), "confirm", "k3m9x0q2ab/s2/confirm/order-7"},
		{in("other00000", NewStringID("order-7"), 0), "confirm", "other00000/s0/confirm/order-7"},
		{in("k3m9x0q2ab", NewStringID("order-7:g2"), 0), "confirm", "k3m9x0q2ab/s0/confirm/order-7:g2"},
		{in("k3m9x0q2ab", NewStringID("x/confirm/order-7"), 0), "create", "k3m9x0q2ab/s0/create/x/confirm/order-7"},
		{in("k3m9x0q2ab", object, 0), "create", "k3m9x0q2ab/o0/create/" + object.String()},
		{in("k3m9x0q2ab", NewStringID(object.String()), 0), "create", "k3m9x0q2ab/s0/create/" + object.String()},
		{in("k3m9x0q2ab", NewUUID([16]byte{1}), 0), "create", "k3m9x0q2ab/u0/create/01000000-0000-0000-0000-000000000000"},
	}
	seen := map[string]bool{}
	for _, r := range rows {
		got := r.in.Key(r.step)
		if got != r.want || seen[got] {
			t.Errorf("got %q, want %q, which no other has", got, r.want)
		}
		seen[got] = true
	}
}
