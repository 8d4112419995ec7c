package main

import (
	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
	"github.com/posener/complete"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/outbox"
)

// completionCmd tells how a shell is made to complete commands and flags.
type completionCmd struct{ kongcompletion.Completion }

func (completionCmd) Help() string {
	return `Prints the line that makes bash, zsh or fish complete commands, flags, kinds, reasons and codes. Put it into the shell's own file to
keep it. Without a shell, it is your login shell.

  source <(outboxd completion -c bash)
  outboxd completion -c fish | source`
}

// complete answers a shell that asks for completions, which it does through the environment. It reports whether one
// did.
func (p *program) complete(parser *kong.Kong) bool {
	if p.env("COMP_LINE") == "" {
		return false
	}
	var kinds, reasons, codes, statusWords []string
	for _, l := range config.DefaultLanes() {
		kinds = append(kinds, l.Kind)
	}
	for _, r := range deadReasons() {
		reasons = append(reasons, string(r))
	}
	for _, c := range outbox.Codes() {
		codes = append(codes, c.Code)
	}
	for _, s := range statuses() {
		statusWords = append(statusWords, string(s))
	}
	answered := false
	kongcompletion.Register(parser, kongcompletion.WithExitFunc(func(int) { answered = true }), kongcompletion.WithPredictors(map[string]complete.Predictor{
		"kind": complete.PredictSet(kinds...), "reason": complete.PredictSet(reasons...), "code": complete.PredictSet(codes...),
		"status": complete.PredictSet(statusWords...), "file": complete.PredictFiles("*"),
	}))
	return answered
}
