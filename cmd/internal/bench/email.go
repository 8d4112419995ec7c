package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/sendgrid/rest"
	"github.com/sendgrid/sendgrid-go"
	"github.com/sendgrid/sendgrid-go/helpers/mail"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// email measures the way through SendGrid's SDK to the simulator, beside what the SDK alone reaches there with the same
// parallelism. Both ways' clients keep as many connections as they make calls at once.
func (r *run) email(ctx context.Context) (err error) {
	sim, err := r.startSimulators(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.stop()) }()
	var alone, with, shares []float64
	for range r.rounds {
		a, err := r.sdkAlone(ctx, sim.SendGrid)
		if err != nil {
			return err
		}
		w, err := r.throughSDK(ctx, sim.SendGrid)
		if err != nil {
			return err
		}
		r.say("email: SDK alone %.0f/s, worker %.0f intents/s", a, w)
		alone, with, shares = append(alone, a), append(with, w), append(shares, w/a)
		if err := sim.reset(ctx); err != nil {
			return err
		}
	}
	r.report.Email = &Email{Parallel: r.Slots, Alone: spread(alone), Worker: spread(with), OfAlone: spread(shares)}
	return nil
}

// throughSDK lets a worker process with the real provider carry out a round's intents.
func (r *run) throughSDK(ctx context.Context, url string) (rate float64, err error) {
	err = r.within(ctx, func(c *mongo.Collection) (err error) {
		if _, err := loadDue(ctx, c, r.Intents); err != nil {
			return err
		}
		crew, err := r.recruit(ctx, 1, c.Name(), []string{"--slots", strconv.Itoa(r.Slots), "--real"}, "SENDGRID_API_URL="+url)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, crew.dismiss()) }()
		if err := crew.tell(wordGo); err != nil {
			return err
		}
		if err := crew.settle(ctx, r.Intents); err != nil {
			return err
		}
		if err := crew.dismiss(); err != nil {
			return err
		}
		rate = float64(r.Intents) / time.Duration(crew.reached(r.Intents)-crew.members[0].done.First).Seconds()
		return nil
	})
	return rate, err
}

// sdkAlone sends as many e-mails by the SDK and nothing else.
func (r *run) sdkAlone(ctx context.Context, url string) (float64, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: r.Slots}
	defer transport.CloseIdleConnections()
	client := &rest.Client{HTTPClient: &http.Client{Transport: transport}}
	began := time.Now()
	err := inParallel(ctx, r.Slots, 1, r.Intents, func(ctx context.Context, i, _ int) error {
		request := sendgrid.GetRequest("SG.bench", "/v3/mail/send", url)
		request.Method = rest.Post
		message := mail.NewV3MailInit(mail.NewEmail("", "shop@example.com"), "Your order", mail.NewEmail("", "customer@example.com"), mail.NewContent("text/plain", text))
		message.Personalizations[0].SetCustomArg("outbox_id", "alone-"+strconv.Itoa(i))
		request.Body = mail.GetRequestBody(message)
		answer, err := client.SendWithContext(ctx, request)
		if err == nil && answer.StatusCode != http.StatusAccepted {
			err = fmt.Errorf("the simulator answered %d", answer.StatusCode)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("send by the SDK alone: %w", err)
	}
	return float64(r.Intents) / time.Since(began).Seconds(), nil
}

// simulators is `outboxd sim` in a process of its own.
type simulators struct {
	SendGrid string `json:"sendgrid"`

	cmd    *exec.Cmd
	stderr bytes.Buffer
}

func (r *run) startSimulators(ctx context.Context) (*simulators, error) {
	s := &simulators{cmd: exec.Command(r.Executable, "sim", "--json", "--stripe-port", "0", "--sendgrid-port", "0", "--twilio-port", "0")}
	s.cmd.Env, s.cmd.Stderr, s.cmd.SysProcAttr = withoutConfiguration(r.Environ), &s.stderr, ownGroup()
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the simulators: %w", err)
	}
	said := make(chan error, 1)
	go func() { // ends with the line, or with the process, which is ended below
		first, err := bufio.NewReader(out).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(first, s)
		}
		said <- err
	}()
	select {
	case err = <-said:
	case <-time.After(readyTimeout):
		err = fmt.Errorf("they do not listen within %v", readyTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the simulators: %w", err), s.stop())
	}
	return s, nil
}

// reset makes them forget what they were sent.
func (s *simulators) reset(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.SendGrid+"/_sim/reset", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("reset the simulators: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("reset the simulators: the answer is %s", answer.Status)
	}
	return nil
}

func (s *simulators) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // one that is gone already is waited for all the same
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("the simulators ended: %w: %s", err, bytes.TrimSpace(s.stderr.Bytes()))
	}
	return nil
}
