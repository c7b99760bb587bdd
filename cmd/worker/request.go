package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// requestCmd is "worker request".
type requestCmd struct {
	ID   string `arg:"" help:"The request id."`
	JSON bool   `name:"json" help:"The record on one line."`
}

// Run prints the record of a request.
func (r *requestCmd) Run(e *env, c *cli) error {
	if !passcode.ValidRequestID(r.ID) {
		return usageError{fmt.Errorf("worker request: a request id is 1 to %d of A-Z a-z 0-9 _ -", passcode.MaxRequestIDLen)}
	}
	cfg, l, err := c.connected(e)
	if err != nil {
		return err
	}
	defer l.nc.Close()
	records, err := ledger.Open(e.stop, l.js, cfg.Results.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("there is no bucket %s: no worker has run on this broker yet", cfg.Results.Bucket)
	}
	if err != nil {
		return err
	}
	rec, _, err := records.Get(e.stop, r.ID)
	if errors.Is(err, domain.ErrNotFound) {
		return fmt.Errorf("no record of request %s: no worker has taken it up yet, or it is older than results.retention", r.ID)
	}
	if err != nil {
		return err
	}
	return printResult(e, rec, !r.JSON)
}

// printResult prints a result as JSON, on many lines for people or on one.
func printResult(e *env, rec passcode.Result, pretty bool) error {
	out := json.NewEncoder(e.stdout)
	out.SetEscapeHTML(false)
	if pretty {
		out.SetIndent("", "  ")
	}
	return out.Encode(rec)
}
