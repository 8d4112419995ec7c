package integration

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tryScript runs a script of the checkout and returns what it prints; problem says what failed.
func tryScript(t *testing.T, name string, args ...string) (printed, problem string) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), filepath.Join("..", "scripts", name), args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", "scripts/" + name + " " + strings.Join(args, " ") + ": " + err.Error() + "\n" + errOut.String()
	}
	return strings.TrimSpace(out.String()), ""
}
