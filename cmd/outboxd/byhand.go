package main

import (
	"fmt"
	"strings"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// deployment is what the workers' file of policies says. The commands that change intents by hand go by it as workers
// do.
type deployment struct {
	config.Policies
	named bool // the command line or the environment names a file
}

func loadDeployment(src config.Source) (deployment, error) {
	policies, err := config.LoadPolicies(src)
	return deployment{policies, src.Flags["config"] != "" || src.Env("OUTBOXD_CONFIG") != ""}, err
}

// options make a store that allows and keeps what the workers' does.
func (d deployment) options() store.Options {
	return store.Options{Rules: outbox.Rules{WriteBack: d.WriteBack}, Retention: d.Retention.Done, RetentionCancelled: d.Retention.Cancelled}
}

// why is the refusal's reason. Only where the configuration alone is in the way, it says how to give another one.
func (d deployment) why(r *outbox.Refusal) string {
	switch {
	case !r.Configuration:
		return r.Why
	case d.named:
		return r.Why + "; the file named by --config or OUTBOXD_CONFIG does not allow it"
	default:
		return r.Why + "; if the workers' file of policies allows that collection, name the file by --config"
	}
}

// maxNote is how long a text may be that a person leaves in a document, in bytes.
const maxNote = 500

// note checks a text that a person leaves in a document.
func note(flag, text string) error {
	if len(text) > maxNote {
		return config.Problems{{Where: "flag --" + flag, Text: fmt.Sprintf("is %d bytes long, must be at most %d", len(text), maxNote)}}
	}
	if strings.ToValidUTF8(text, "") != text {
		return config.Problems{{Where: "flag --" + flag, Text: "is no valid UTF-8"}}
	}
	return nil
}

// orNoReason is the reason that was given, or says that none was.
func orNoReason(why string) string {
	if strings.TrimSpace(why) == "" {
		return noReason
	}
	return why
}

// reasonGiven checks a reason that a command cannot do without.
func reasonGiven(why string) error {
	if strings.TrimSpace(why) == "" {
		return config.Problems{{Where: "flag --why", Text: "must say why; the people who find it will ask"}}
	}
	return nil
}
