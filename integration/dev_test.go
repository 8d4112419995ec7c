package integration

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/integration/mongodb"
)

// What `outboxd dev` prints for producers is copied as it stands, in both languages, and what becomes of it is told. An
// interrupt ends everything: nothing listens any more, and no file is left.
func TestDev(t *testing.T) {
	t.Parallel()
	modules, problem := tryScript(t, "get-producers", "node")
	if problem != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(problem)
		}
		t.Skip("THE PRODUCERS THAT `outboxd dev` PRINTS ARE NOT RUN: " + problem)
	}
	mongod, err := filepath.Abs(filepath.Join("..", mongodb.CachePath))
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(mongodb.MongodVariable) != "" {
		mongod = os.Getenv(mongodb.MongodVariable)
	}
	temp := t.TempDir()
	// What is real in the environment must not be touched.
	dev := start(t, environment("TMPDIR="+temp, mongodb.MongodVariable+"="+mongod, "OUTBOXD_MONGODB_URI=mongodb://127.0.0.1:1/", "STRIPE_API_KEY=sk_live_real"), "outboxd", "dev")
	dev.find(dev.out, "that it is ready", func(line string) bool { return strings.Contains(line, "until an interrupt") })
	guide := dev.out.String()

	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = environment("PATH="+filepath.Join(modules, "node_modules", ".bin")+":"+os.Getenv("PATH"), "NODE_PATH="+filepath.Join(modules, "node_modules"), "HOME="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("what dev prints, run with %s: %v\n%s", name, err, out)
		}
	}
	snippet := func(pattern string) string {
		t.Helper()
		found := regexp.MustCompile(pattern).FindString(guide)
		if found == "" {
			t.Fatalf("no %s in:\n%s", pattern, guide)
		}
		return found
	}
	told := func(kind string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			dev.find(dev.out, kind+": "+want, func(line string) bool { return strings.Contains(line, "  "+kind) && strings.Contains(line, want) })
		}
	}
	run("bash", "-c", snippet(`(?s)  mongosh .*?\}\)'`))
	told("sms", "written, due now", "claimed, attempt 1", "done: twilio SM")
	run("node", "-e", snippet(`(?s)  const \{ MongoClient \}.*?client\.close\(\)\)`))
	told("email", "written, due now", "claimed, attempt 1", "done: sendgrid ")

	// What fails is told with its reason, and the next try.
	twilio := snippet(`http://127\.0\.0\.1:\d+/_sim/effects\n  worker`)
	twilio = strings.TrimSuffix(twilio, "/_sim/effects\n  worker")
	run("curl", "--fail", "--silent", twilio+"/_sim/faults", "-d", `{"provider":"twilio","route":"send","do":"status","status":503}`)
	run("bash", "-c", snippet(`(?s)  mongosh .*?\}\)'`))
	told("sms", "dead: ambiguous (unavailable: Twilio")

	for line := range strings.SplitSeq(dev.out.String(), "\n") {
		if strings.Contains(line, "\x1b") {
			t.Errorf("colour without a terminal: %q", line)
		}
		if len([]rune(line)) > 100 && !strings.Contains(line, "mongodb://") {
			t.Errorf("%d columns: %s", len([]rune(line)), line)
		}
	}
	if err := dev.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	dev.succeed()
	for _, address := range regexp.MustCompile(`(?:mongodb|http)://[^/\s"]+`).FindAllString(guide, -1) {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", u.Host); err == nil {
			_ = conn.Close()
			t.Errorf("somebody still listens on %s", u.Host)
		}
	}
	left, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("%s is left behind", entry.Name())
	}
}

// Without a MongoDB to start, it says which ways there are.
func TestDevWithoutMongoDB(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"PATH=/nowhere", "HOME=/nowhere", "MONGOD=/nowhere/mongod", "TMPDIR=" + t.TempDir()}, "outboxd", "dev")
	if code := p.code(); code != 1 || !strings.Contains(p.errOut.String(), "/nowhere/mongod") {
		t.Errorf("exit code %d: %s", code, p.errOut)
	}
}
