package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/integration/chaos/plan"
)

// However the bytes arrive, the same comes out, and at the end of a message nothing is held back.
func TestRewriteReplacesAcrossChunks(t *testing.T) {
	r := rewrite{From: []string{"127.0.0.1:10001", "127.0.0.1:10002"}, To: []string{"127.0.0.1:20001", "127.0.0.1:20002"}}
	const message = "127.0.0.1:10001,127.0.0.1:10002 127.0.0.1:10003 127.0.127.0.0.1:10001\x00"
	want := strings.NewReplacer("0.1:1000", "0.1:2000").Replace(message)
	want = strings.Replace(want, "20003", "10003", 1)
	for size := 1; size <= len(message); size++ {
		state, got := new(rest), ""
		for at := 0; at < len(message); at += size {
			got += string(r.next(state, []byte(message[at:min(at+size, len(message))])))
		}
		if got != want || len(state.held) > 0 {
			t.Errorf("in chunks of %d: %q, held back %q", size, got, state.held)
		}
	}
}

// A wire does what a fault says, and is as before once it is mended.
func TestWire(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("hello")) // who does not read it closes
			go func() {
				_, _ = c.Read(make([]byte, 1)) // until the client leaves
				_ = c.Close()
			}()
		}
	}()
	n := newNetwork()
	defer n.close()
	w, err := n.connect("test", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	greeted := func(within time.Duration) bool {
		c, err := net.DialTimeout("tcp", w.addr(), within)
		if err != nil {
			return false
		}
		defer c.Close()
		if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		got, err := c.Read(make([]byte, 10))
		return err == nil && got == len("hello")
	}
	const soon, patient = 300 * time.Millisecond, 10 * time.Second
	for _, e := range []plan.Event{{What: plan.Cut}, {What: plan.HalfOpen}, {What: plan.Slow, Late: 2 * time.Second}} {
		if !greeted(patient) {
			t.Fatalf("before %s nothing comes", e.What)
		}
		if err := w.fail(e); err != nil {
			t.Fatal(err)
		}
		if err := w.fail(e); err != errBusy {
			t.Errorf("a second fault: %v", err)
		}
		if greeted(soon) {
			t.Errorf("%s changes nothing", e.What)
		}
		if err := w.mend(context.Background()); err != nil {
			t.Fatal(err)
		}
		if !greeted(patient) {
			t.Errorf("after %s nothing comes", e.What)
		}
	}
}
