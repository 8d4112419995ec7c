package page

import (
	"net/http"

	"github.com/outboxd/outboxd/admin"
)

// changeIntent carries out a form of an intent's page.
func (p *Page) changeIntent(c *call) (to string, err error) {
	name, ok := nameOf(c.PathValue("id"))
	if !ok {
		return "", errNoView
	}
	op, why, form := c.PathValue("op"), c.PostForm.Get("why"), c.PostForm
	ctx, operator := c.Context(), c.as(admin.RoleOperate)
	switch op {
	case "retry":
		_, err = p.service.Retry(ctx, operator, name, why, form.Get("even") != "")
	case "cancel":
		_, err = p.service.Cancel(ctx, operator, name, why)
	case "discard":
		_, err = p.service.Discard(ctx, operator, name, why)
	case "resolve":
		sent := form.Get("sent")
		if sent != "yes" && sent != "no" { // silence is no verdict
			return "", &badField{"say whether it was sent or not"}
		}
		var change admin.Change
		change, err = p.service.Resolve(ctx, operator, name, why, sent == "yes", trim(form.Get("evidence")))
		if change.Waiting != "" {
			op = "resolve-waiting"
		}
	case "ask":
		var evidence admin.Evidence
		if evidence, err = p.service.Ask(ctx, operator, name); err == nil {
			c.ask = &evidence
		}
		return "", err
	case "reveal":
		var payload any
		if payload, err = p.service.Reveal(ctx, c.as(admin.RoleReveal), name, why); err == nil {
			text := payloadText(payload)
			c.reveal = &text
		}
		return "", err
	default:
		return "", errNoView
	}
	return "/i/" + c.PathValue("id") + "?did=" + op, err
}

func (p *Page) intent(c *call) (content, error) {
	name, ok := nameOf(c.PathValue("id"))
	if !ok {
		return content{}, errNoView
	}
	shown, err := p.service.Show(c.Context(), c.actor, name)
	if err != nil {
		return content{title: http.StatusText(http.StatusNotFound)}, err
	}
	v := content{title: clean(shown.Kind + " " + shown.Name), live: intentView(c, shown), rest: intentForms(c, shown)}
	if !shown.Status.Final() && c.reveal == nil {
		v.every = everyFew
	}
	return v, nil
}

// choice returns whether something can be done with the intent.
func choice(s admin.Shown, op string) admin.Choice {
	for _, c := range s.Choices {
		if c.Op == op {
			return c
		}
	}
	return admin.Choice{Op: op}
}
