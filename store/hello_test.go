package store

import (
	"errors"
	"testing"
)

func TestHello(t *testing.T) {
	for name, c := range map[string]struct {
		hello hello
		want  error
	}{
		"primary":    {hello{SetName: "rs0", Writable: true}, nil},
		"mongos":     {hello{Msg: "isdbgrid", Writable: true}, nil},
		"secondary":  {hello{SetName: "rs0"}, ErrNoPrimary},
		"standalone": {hello{Writable: true}, ErrStandalone},
		"starting":   {hello{}, ErrStandalone},
	} {
		if got := c.hello.usable(); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
