package store_test

import (
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

func TestRatesOfAllWorkersAddUp(t *testing.T) {
	h := newHarness(t)
	now := time.Now().UTC().Truncate(time.Minute)
	of := func(kind string, ago int, n int64) outbox.RateMinute {
		m := outbox.RateMinute{Minute: now.Add(-time.Duration(ago) * time.Minute), Kind: kind}
		v := reflect.ValueOf(&m.RateCounters).Elem()
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.Array {
				for j := range f.Len() {
					f.Index(j).SetInt(n)
				}
			} else {
				f.SetInt(n * int64(i+1))
			}
		}
		return m
	}
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			if err := h.store.AddRates(t.Context(), []outbox.RateMinute{of("sms", 0, 1), of("sms", 1, 2), of("email", 1, 3), {Minute: now, Kind: "nothing"}}); err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	got, err := h.store.Rates(t.Context(), "", now.Add(-time.Hour), now.Add(time.Hour))
	if want := []outbox.RateMinute{of("email", 1, 12), of("sms", 1, 8), of("sms", 0, 4)}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	got, err = h.store.Rates(t.Context(), "sms", now, now.Add(time.Minute))
	if want := []outbox.RateMinute{of("sms", 0, 4)}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}
