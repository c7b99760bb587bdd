package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/phone"
	"github.com/passcode-worker/passcode-worker/internal/ratelimit"
	"github.com/passcode-worker/passcode-worker/passcode"
)

type limitsCmd struct {
	Show  limitsShowCmd  `cmd:"" help:"Show how far a phone's limits are used up, and when the next SMS is allowed."`
	Reset limitsResetCmd `cmd:"" help:"Forget all that counts against a phone, Aliyun's closure included."`
}

type limitsPhone struct {
	Phone string `arg:"" help:"The phone number, read as in a job: E.164 such as +85268326366, or national digits."`
}

type limitsShowCmd struct {
	limitsPhone
	JSON bool `name:"json" help:"One JSON object a line."`
}

type limitsResetCmd struct {
	limitsPhone
	Yes bool `short:"y" help:"Don't ask for confirmation."`
}

func (s *limitsShowCmd) Run(e *command.Env) error {
	limiter, number, err := s.open(e)
	if err != nil {
		return err
	}
	state, err := limiter.Show(e.Stop, number)
	switch {
	case errors.Is(err, ratelimit.ErrCorrupt):
		return fmt.Errorf("what is stored of %s can't be read, and counts for nothing; \"worker limits reset\" removes it", number.Masked())
	case err != nil:
		return err
	case s.JSON:
		return show.JSONLines(e.Stdout).Encode(struct {
			Phone string `json:"phone"`
			ratelimit.State
		}{number.Masked(), state})
	}
	return showLimits(e, number, state, time.Now())
}

func showLimits(e *command.Env, number passcode.Phone, state ratelimit.State, now time.Time) error {
	page := show.Page{W: e.Stdout, Names: 12}
	page.Line("phone", "%s", number.Masked())
	page.If(state.NextAllowed.IsZero(), "next SMS", "allowed now")
	page.If(!state.NextAllowed.IsZero(), "next SMS", "allowed %s", show.Moment(state.NextAllowed, now))
	page.If(!state.ClosedUntil.IsZero(), "closed", "by Aliyun's own limit until %s", show.Moment(state.ClosedUntil, now))
	e.Print("")
	rules := show.NewListing(e.Stdout, false, "RULE", "USED", "ONE MORE ALLOWED")
	for _, w := range state.Windows {
		free := "now"
		if w.Used >= w.Max {
			free = show.Moment(w.NextFree, now)
		} else if w.Used > 0 {
			free = "now; one more " + show.Moment(w.NextFree, now)
		}
		rules.Row(w.Rule, fmt.Sprintf("%d of %d", w.Used, w.Max), free)
	}
	if err := rules.Flush(); err != nil {
		return err
	}
	e.Print("")
	if len(state.Entries) == 0 {
		e.Print("Nothing counts against this phone. The workers' own limits.key and\nlimits.phone are needed to see what they see.")
		return nil
	}
	sent := show.NewListing(e.Stdout, false, "SENT OR BEING SENT", "REQUEST")
	for _, entry := range state.Entries {
		sent.Row(show.Stamp(entry.At), entry.RequestID)
	}
	if err := sent.Flush(); err != nil {
		return err
	}
	e.Print("\n\"worker request ID\" shows one of them, \"worker limits reset PHONE\" forgets them all")
	return nil
}

func (r *limitsResetCmd) Run(e *command.Env) error {
	limiter, number, err := r.open(e)
	if err != nil {
		return err
	}
	state, err := limiter.Show(e.Stop, number)
	what := fmt.Sprintf("%d SMS", len(state.Entries))
	switch {
	case errors.Is(err, ratelimit.ErrCorrupt):
		what = "what is stored and can't be read"
	case err != nil:
		return err
	case !state.ClosedUntil.IsZero():
		what += ", and Aliyun's closure until " + show.Stamp(state.ClosedUntil)
	case len(state.Entries) == 0:
		e.Note("nothing counts against %s: nothing to reset", number.Masked())
		return nil
	}
	if err := e.Confirm(r.Yes, fmt.Sprintf("Forget what counts against %s (%s)?", number.Masked(), what)); err != nil {
		return err
	}
	if err := limiter.ResetPhone(e.Stop, number); err != nil {
		return err
	}
	e.Note("reset for %s: %s; the next SMS is allowed now", number.Masked(), what)
	if !state.ClosedUntil.IsZero() {
		e.Note("Aliyun's own limit may still refuse it, and then closes the phone again")
	}
	return nil
}

// open reads the number as the workers do and opens their limiter.
func (p *limitsPhone) open(e *command.Env) (limiter *ratelimit.Limiter, number passcode.Phone, err error) {
	cfg, err := e.Settings(false)
	if err != nil {
		return nil, number, err
	}
	number, err = phone.Parser{Strict: cfg.Aliyun.StrictPhoneRegionNumberCheck}.Parse(passcode.NewPhone(p.Phone))
	if err != nil {
		return nil, number, command.Usagef("worker limits: %s", strings.TrimPrefix(err.Error(), "invalid job: "))
	}
	if err := e.Connect(); err != nil {
		return nil, number, err
	}
	limiter, err = ratelimit.Open(e.Stop, e.JS, ratelimit.Options{
		Bucket: cfg.Limits.Bucket, Rules: cfg.Limits.Phone, Key: cfg.Limits.Key,
	})
	return limiter, number, e.NeverRun(cfg.Limits.Bucket, err)
}
