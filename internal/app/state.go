package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/account"
	"github.com/passcode-worker/passcode-worker/internal/broker"
)

// notReady is what keeps the worker from doing its job.
func (a *App) notReady() []string {
	if why := a.parts.Load().starting; why != "" {
		return []string{"starting: " + why}
	}
	return append(a.monitor.NotReady(), a.aliyunDown()...)
}

// accountClosed says why nothing can be sent for the account, empty where it can.
func (a *App) accountClosed() string {
	if p := a.parts.Load(); p.starting == "" {
		if state := p.account.State(); state.Closed() {
			return fmt.Sprintf("closed %s; next probe at %s", AccountText(state), state.Until.Format(time.RFC3339))
		}
	}
	return ""
}

// aliyunDown is the reason not to be ready while Aliyun answers no call.
func (a *App) aliyunDown() []string {
	if p := a.parts.Load(); p.starting == "" {
		if state := p.outage.State(); state.Open {
			return []string{fmt.Sprintf("aliyun: down since %s (%s: %s); next probe at %s",
				state.Since.UTC().Format(time.RFC3339), state.Code, state.Message, state.NextProbe.UTC().Format(time.RFC3339))}
		}
	}
	return nil
}

// standing says what in the broker fails while jobs are handled.
func (a *App) standing() []error {
	var all []error
	if p := a.parts.Load(); p.starting == "" {
		all = p.consumer.Standing()
		if why := p.source.Trouble(); why != "" {
			all = append(all, errors.New(why))
		}
	}
	if a.js.Conn().IsConnected() {
		if err := broker.CheckServer(a.js.Conn()); err != nil {
			all = append(all, err)
		}
	}
	return all
}

// pause explains a pause of the consumer, unless it is the account's own.
func (a *App) pause(ctx context.Context, until time.Time) (string, error) {
	p := a.parts.Load()
	if p.starting != "" {
		return "", nil
	}
	pause, err := p.account.Holder(ctx, until)
	if err != nil || pause.At.IsZero() && p.account.State().Closed() {
		return "", err
	}
	return PauseText(pause), nil
}

// PauseText says until when a pause lasts, whose it is and why.
func PauseText(p account.Pause) string {
	text := "until \"worker resume\""
	if p.Until.Before(account.Forever) {
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
