package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// How far our clock may be from Aliyun's. Some seconds: replicas' clocks may differ as
// much, and limits and look-ups count on them. Minutes: passcodes are taken for expired,
// or sent when they have. From 15 minutes on Aliyun refuses signed calls.
const (
	clockWarn = 5 * time.Second
	clockFail = 5 * time.Minute
	refusedAt = 15 * time.Minute
)

// service checks the way to Aliyun, and what has to be in order there.
func (r *run) service() {
	if !r.reach() {
		r.skip(checkEndpoint, checkClock, checkCredentials, checkSignature, checkTemplate)
		return
	}
	if !r.Problems.Usable(signing...) {
		r.skip(checkSettings, checkCredentials, checkSignature, checkTemplate)
		return
	}
	r.account()
}

// reach checks endpoint and clock. It returns false if nothing answers.
func (r *run) reach() bool {
	switch {
	case !r.Problems.Usable(reaching...):
		r.skip(checkSettings, checkEndpoint)
		return false
	case r.Aliyun == nil:
		r.fail(checkEndpoint, "", r.AliyunErr.Error(), "correct what it names")
		return false
	}
	ctx, cancel := r.bounded()
	defer cancel()
	url := r.Config.Aliyun.Protocol + "://" + r.Config.Aliyun.Endpoint
	presence, err := r.Aliyun.Knock(ctx)
	if err != nil {
		r.fail(checkEndpoint, "", url+": "+err.Error(), fixEndpoint(err))
		return false
	}
	r.ok(checkEndpoint, "", url+" answers")
	r.clock(presence)
	return true
}

func fixEndpoint(err error) string {
	switch failureOf(err).Code {
	case answer.CodeDNS:
		return "correct aliyun.endpoint, or the name servers of this machine"
	case answer.CodeTLS:
		return "correct aliyun.endpoint and aliyun.protocol, or the clock and the root certificates of this machine"
	default:
		return "correct aliyun.endpoint and aliyun.protocol, or let this machine reach it"
	}
}

const fixClock = "set the clock of this machine, and keep it by NTP"

func (r *run) clock(p aliyun.Presence) {
	if !p.Dated {
		r.warn(checkClock, "", "can't be compared: the answer has no Date", "see that aliyun.endpoint is Aliyun's")
		return
	}
	off, direction := p.Ahead.Abs().Round(time.Second), "behind"
	r.clockFailed = off >= clockFail
	if p.Ahead < 0 {
		direction = "ahead of"
	}
	detail := fmt.Sprintf("ours is %s %s Aliyun's", domain.FormatDuration(off), direction)
	switch {
	case off >= refusedAt:
		r.fail(checkClock, "", detail+"; from "+domain.FormatDuration(refusedAt)+" on it refuses every call", fixClock)
	case off >= clockFail:
		r.fail(checkClock, "", detail+"; passcodes are taken for expired, or sent when they have", fixClock)
	case off > clockWarn:
		r.warn(checkClock, "", detail+"; limits and look-ups count on replicas' clocks that agree", fixClock)
	default:
		// The header counts whole seconds, and the connection took a while.
		r.ok(checkClock, "", "within "+domain.FormatDuration(max(off, time.Second))+" of Aliyun's")
	}
}

// account checks the credentials with the first question that the endpoint serves,
// then the signatures and templates.
func (r *run) account() {
	signs, templates := r.questions()
	questions := slices.Concat(signs, templates)
	asked := questions
	if len(questions) == 0 {
		// Any answer shows whether the call was well signed.
		asked = []*question{r.question(checkSignature, "worker-check", r.reviewSign)}
	}
	var failure *answer.Failure
	for _, q := range asked {
		if _, failure = q.ask(); failure == nil || failure.Reason() != answer.NotOffered {
			break
		}
	}
	if !r.credentials(failure) {
		r.skip(checkCredentials, checkSignature, checkTemplate)
		return
	}
	if len(signs) == 0 {
		r.skip(checkSettings, checkSignature)
	}
	for i, q := range questions {
		if !r.tell(q) {
			for _, left := range questions[i+1:] {
				r.warn(left.check, left.name, "not checked: see "+q.check+" "+q.name, "")
			}
			return
		}
	}
	if len(templates) == 0 {
		r.skip(checkSettings, checkTemplate)
	}
}

// keyFailures is what a refused call says of the credentials (KEY).
var keyFailures = map[answer.Reason]judgement{
	answer.KeyRefused:    {Fail, "Aliyun does not know KEY, or it is disabled", "correct aliyun.access_key_id, or enable the key in the RAM console"},
	answer.SecretWrong:   {Fail, "the secret is not that of KEY", "correct aliyun.access_key_secret"},
	answer.RefusedToken:  {Fail, "Aliyun refuses the security token", "renew aliyun.security_token, or leave the keys to this machine's role"},
	answer.AccountClosed: {Fail, "Aliyun accepts KEY and refuses its account", "look at the account in Aliyun's console"},
	answer.NotOffered:    {Warn, "can't be checked: this endpoint serves none of our questions", "see that aliyun.endpoint is Aliyun's"},
	answer.Busy:          {Warn, "can't be checked: Aliyun is busy", "run it again"},
	answer.Unreadable:    {Fail, "what answers is not Aliyun SMS", "correct aliyun.endpoint and aliyun.protocol, or look for a proxy on the way"},
	answer.Unreachable:   {Fail, "a signed call is not answered", "run it again; look at aliyun.timeout and the network"},
	answer.Refused:       {Fail, "Aliyun refuses a signed call", "look the code up in Aliyun's documents"},
}

// credentials judges the first signed call; failure is nil if it was answered. It
// returns false if there is no use in asking more.
func (r *run) credentials(failure *answer.Failure) bool {
	key := "the access key " + r.Config.Aliyun.AccessKeyID.String()
	if r.Config.Aliyun.AccessKeyID.IsZero() {
		key = "the access key that this machine provides"
	}
	if failure == nil || signed(failure) {
		r.ok(checkCredentials, "", "Aliyun accepts "+key)
		return true
	}
	switch failure.Reason() {
	case answer.NoCredentials:
		r.fail(checkCredentials, "", "none are set, and this machine provides none",
			"set aliyun.access_key_id and aliyun.access_key_secret, or give this machine a role")
	case answer.ClockOff: // it shows nothing of the credentials
		if !r.clockFailed {
			r.fail(checkClock, "", "Aliyun refuses the time of a signed call ("+failure.Error()+")", fixClock)
		}
		r.skip(checkClock, checkCredentials)
	default:
		r.add(checkCredentials, "", explain(keyFailures, failure, "KEY", key))
	}
	return failure.Reason() == answer.NotOffered
}

// signed reports whether a refusal shows that the signature was good: the gateway
// checks it before it asks the service.
func signed(f *answer.Failure) bool {
	byService := strings.HasPrefix(f.Code, "isv.") || strings.HasPrefix(f.Code, "isp.")
	reason := f.Reason()
	return reason == answer.NotListed || reason == answer.NotAllowed || reason == answer.Refused && byService
}
