package page_test

import (
	"testing"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

func TestMain(m *testing.M) { mongotest.Main(m) }
