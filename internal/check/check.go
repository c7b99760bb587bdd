// Package check tells whether a worker with given settings could do its job here and
// now. It asks the broker and Aliyun, and changes and sends nothing.
//
// One failure doesn't hide another: what can't be checked because of an earlier one says so in one line.
package check

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/config"
)

// Status is how a [Result] stands.
type Status string

// The statuses. A failure keeps a worker from its job or its promises; a warning is for an operator to judge.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Result is what was found of one thing.
type Result struct {
	Status Status `json:"status"`
	Check  string `json:"check"`          // "stream"
	Name   string `json:"name,omitempty"` // which stream: "PASSCODE"
	Detail string `json:"detail"`
	Fix    string `json:"mend,omitempty"`
}

// The checks, in their order.
const (
	checkSettings    = "settings"
	checkBroker      = "broker"
	checkVersion     = "version"
	checkReplicas    = "replicas"
	checkRights      = "rights"
	checkStream      = "stream" // and "bucket", "consumer": the kinds of package broker
	checkEndpoint    = "endpoint"
	checkClock       = "clock"
	checkCredentials = "credentials"
	checkSignature   = "signature"
	checkTemplate    = "template"
)

const patience = 10 * time.Second // with each check

// Aliyun is what is asked of Aliyun; an [aliyun.Sender] answers it.
type Aliyun interface {
	Knock(ctx context.Context) (aliyun.Presence, error)
	ReviewSign(ctx context.Context, name string) (aliyun.Review, error)
	ReviewTemplate(ctx context.Context, code string) (aliyun.Review, error)
}

// Plan is what to check, and with what.
type Plan struct {
	Config    config.Config
	Problems  *config.Errors                            // what is wrong with Config; may be nil
	LimitsTTL time.Duration                             // see [broker.Items]
	Dial      func(context.Context) (*nats.Conn, error) // connects as a worker does
	Aliyun    Aliyun                                    // uses Config's credentials; nil: see AliyunErr
	AliyunErr error
}

// Run makes every check, in a fixed order, and reports each result as it comes. An error is that ctx ended.
func (p Plan) Run(ctx context.Context, report func(Result)) error {
	r := &run{Plan: p, ctx: ctx, report: report}
	r.settings()
	r.broker()
	r.service()
	return context.Cause(ctx)
}

type run struct {
	Plan
	ctx    context.Context
	report func(Result)

	clockFailed bool // the clock was reported to be off
}

func (r *run) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(r.ctx, patience, fmt.Errorf("it took longer than %s", patience))
}

// judgement is what a result says of one thing.
type judgement struct {
	status      Status
	detail, fix string
}

// add reports a result, unless the run was stopped: then that may be why it failed.
func (r *run) add(check, name string, j judgement) {
	if r.ctx.Err() == nil {
		r.report(Result{Status: j.status, Check: check, Name: name, Detail: j.detail, Fix: j.fix})
	}
}

func (r *run) ok(check, name, detail string)        { r.add(check, name, judgement{OK, detail, ""}) }
func (r *run) warn(check, name, detail, fix string) { r.add(check, name, judgement{Warn, detail, fix}) }
func (r *run) fail(check, name, detail, fix string) { r.add(check, name, judgement{Fail, detail, fix}) }

// skip says that checks can't be made before another thing is fixed.
func (r *run) skip(see string, checks ...string) {
	for _, check := range checks {
		r.warn(check, "", "not checked: see "+see, "")
	}
}

func (r *run) settings() {
	if r.Problems != nil {
		for _, p := range r.Problems.Problems {
			detail := p.Problem
			if p.Source != "" {
				detail += " (" + p.Source + ")"
			}
			r.fail(checkSettings, p.Key, detail, p.Fix)
		}
	}
	for _, warning := range r.Config.Warnings {
		key, text, _ := strings.Cut(warning, ": ")
		r.warn(checkSettings, key, text, "")
	}
	if r.Problems == nil && len(r.Config.Warnings) == 0 {
		r.ok(checkSettings, "", "nothing is wrong with them")
	}
}

// The settings that a check depends on. It is skipped if one of them is wrong.
var (
	connecting = []string{
		"nats.url", "nats.creds", "nats.nkey_seed_file", "nats.user", "nats.password", "nats.token",
		"nats.tls.ca", "nats.tls.cert", "nats.tls.key", "nats.embedded.enabled", "nats.embedded.listen",
	}
	naming = []string{
		"jobs.stream", "jobs.subject", "jobs.consumer", "results.bucket", "results.subject", "results.reply_subjects",
		"dead_letters.stream", "dead_letters.subject", "limits.bucket",
	}
	reaching = []string{"aliyun.endpoint", "aliyun.protocol"}
	signing  = []string{"aliyun.access_key_id", "aliyun.access_key_secret", "aliyun.security_token", "aliyun.connector_file"}
)
