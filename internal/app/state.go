package app

import (
	"context"
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/account"
)

// notReady is what keeps the worker from doing its job.
func (a *app) notReady() []string {
	if why := a.starting.Load(); why != nil {
		return []string{"starting: " + *why}
	}
	return append(a.monitor.NotReady(), a.outage()...)
}

// account says why nothing can be sent for the account, empty where it can.
func (a *app) account() string {
	g := a.gate.Load()
	if g == nil {
		return ""
	}
	state := g.State()
	if !state.Closed() {
		return ""
	}
	return fmt.Sprintf("closed %s; next probe at %s", AccountText(state), state.Until.Format(time.RFC3339))
}

// outage is the reason not to be ready where Aliyun answers none of this worker's
// calls; none where it does.
func (a *app) outage() []string {
	breaker := a.breaker.Load()
	if breaker == nil {
		return nil
	}
	state := breaker.State()
	if !state.Open {
		return nil
	}
	return []string{fmt.Sprintf("aliyun: down since %s (%s: %s); next probe at %s",
		state.Since.UTC().Format(time.RFC3339), state.Code, state.Message, state.NextProbe.UTC().Format(time.RFC3339))}
}

// PauseText says until when a pause lasts, whose it is and why.
func PauseText(p account.Pause) string {
	text := "until \"worker resume\""
	if !p.Endless() {
		text = "until " + p.Until.Format(time.RFC3339)
	}
	if p.At.IsZero() {
		return text + ", not by \"worker pause\""
	}
	text += ", by " + p.By
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// AccountText says since when and why the account is closed.
func AccountText(s account.State) string {
	text := fmt.Sprintf("since %s by %s", s.Since.Format(time.RFC3339), s.Code)
	if s.Message != "" {
		text += " (" + s.Message + ")"
	}
	return text
}

// pause explains a pause of the consumer, for readiness and the log. The
// account's own is told of elsewhere.
func (a *app) pause(ctx context.Context, until time.Time) (string, error) {
	g := a.gate.Load()
	if g == nil {
		return "", nil // starting
	}
	note, known, err := g.Holder(ctx, until)
	switch {
	case err != nil:
		return "", err
	case known:
		return PauseText(note), nil
	case g.State().Closed():
		return "", nil
	default:
		return PauseText(account.Pause{Until: until}), nil
	}
}
