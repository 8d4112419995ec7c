package simulator

import (
	"cmp"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The providers' names, as they stand in effects, request counts and faults.
const (
	ProviderStripe   = "stripe"
	ProviderSendGrid = "sendgrid"
	ProviderTwilio   = "twilio"
)

// DefaultSearchLag is how long a PaymentIntent stays invisible to Stripe's search unless configured otherwise: Stripe
// promises "less than one minute" in normal times and no read-after-write (docs.stripe.com, "Search").
const DefaultSearchLag = time.Minute

// Config says how the providers behave. The zero value is useful: any credential is accepted, nothing is delayed but
// Stripe's search.
type Config struct {
	// StripeKey is the only secret key accepted. Empty: any key is, but none is refused with 401.
	StripeKey string
	// SendGridKey is the only API key accepted. Empty: any key is, but none is refused with 401.
	SendGridKey string
	// TwilioSID and TwilioToken are the only account and token accepted. Empty: any is, as long as the user name is the
	// account in the path or an API key (SK…), but none is refused with 401.
	TwilioSID, TwilioToken string

	// SearchLag is how long a new PaymentIntent stays invisible to search. Defaults to DefaultSearchLag; negative:
	// none.
	SearchLag time.Duration
	// LogsDelay is how long an accepted e-mail stays invisible to the Email Logs API. Defaults to 0.
	LogsDelay time.Duration
	// QueueDelay is how long a text message stays queued, without date_sent. Defaults to 0: until the next second.
	QueueDelay time.Duration
	// Latency is waited before each request is processed. Defaults to 0.
	Latency time.Duration

	// EventWebhook is the URL that receives SendGrid's processed and delivered events. Empty: none are posted.
	EventWebhook string
	// StatusCallbacks makes Twilio post sent and delivered to a message's StatusCallback. It is off by default, so
	// that a test never calls a URL that stands in a request.
	StatusCallbacks bool
}

// Sim is the three simulated providers with their common state. Create it by [New]; it is safe for concurrent use.
type Sim struct {
	cfg      Config
	clock    clock
	settings settings
	faults   faultBook
	effects  effectLog
	requests requestLog
	bell     bell
	outgoing *outgoing

	stripe   *stripeAPI
	sendgrid *sendgridAPI
	twilio   *twilioMessages
	control  http.Handler

	done  chan struct{} // closed by Close
	life  sync.RWMutex  // guards closed against calls.Add
	ended bool
	calls sync.WaitGroup
}

// New makes the three providers; they are reached through the handlers below, or through [Start] on sockets.
// The caller must Close it.
func New(cfg Config) *Sim {
	s := &Sim{cfg: cfg, done: make(chan struct{})}
	s.bell.ch = make(chan struct{})
	s.settings.reset(cfg)
	s.outgoing = newOutgoing(s)
	s.stripe = newStripe(s)
	s.sendgrid = newSendGrid(s)
	s.twilio = newTwilio(s)
	s.control = s.newControl()
	return s
}

// Stripe is Stripe's API (and the control endpoints), to be served at the root of a host.
func (s *Sim) Stripe() http.Handler { return s.handler(s.stripe) }

// SendGrid is SendGrid's API (and the control endpoints), to be served at the root of a host.
func (s *Sim) SendGrid() http.Handler { return s.handler(s.sendgrid) }

// Twilio is Twilio's API (and the control endpoints), to be served at the root of a host.
func (s *Sim) Twilio() http.Handler { return s.handler(s.twilio) }

// Control is the control endpoints alone.
func (s *Sim) Control() http.Handler { return s.control }

// Close ends every hanging request, delay and callback and returns when they are gone. Later requests get 503.
// It may be called more than once.
func (s *Sim) Close() {
	s.stop()
	s.calls.Wait()
	s.outgoing.close()
}

// stop lets nothing begin and tells everything that waits to end; it does not wait for it.
func (s *Sim) stop() {
	s.life.Lock()
	defer s.life.Unlock()
	if !s.ended {
		s.ended = true
		close(s.done)
	}
}

// Reset forgets all effects, requests, faults, keys, payments, e-mails and messages, and sets clock and settings back.
// Requests in flight may still leave traces; end them first.
func (s *Sim) Reset() {
	s.faults.clear()
	s.effects.reset()
	s.requests.reset()
	s.stripe.reset()
	s.sendgrid.reset()
	s.twilio.reset()
	s.settings.reset(s.cfg)
	s.clock.reset()
}

// Now is the simulated time: the machine's plus what the clock was advanced by.
func (s *Sim) Now() time.Time { return s.clock.now() }

// Advance moves the simulated clock forward by d; a negative d is ignored, time does not run backwards.
func (s *Sim) Advance(d time.Duration) { s.clock.advance(max(d, 0)) }

// enter admits one call; the caller must call s.calls.Done when it is true.
func (s *Sim) enter() bool {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.ended {
		return false
	}
	s.calls.Add(1)
	return true
}

// wait lets d pass in real time; false means that the Sim was closed instead.
func (s *Sim) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.done:
		return false
	}
}

func (s *Sim) handler(p api) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, controlPrefix) {
			s.control.ServeHTTP(w, r)
			return
		}
		if !s.enter() {
			http.Error(w, "the simulator is closed", http.StatusServiceUnavailable)
			return
		}
		defer s.calls.Done()
		s.exchange(w, r, p)
	})
}

// searchLag is the configured lag with its default.
func (c Config) searchLag() time.Duration { return max(cmp.Or(c.SearchLag, DefaultSearchLag), 0) }
