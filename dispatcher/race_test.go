//go:build race

package dispatcher_test

// raceEnabled says that the race detector watches. It makes hours of fake time take minutes: of the tests that take
// longest it watches one case each. All run without it as well (make test).
const raceEnabled = true
