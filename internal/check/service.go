package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// How far our clock may be from Aliyun's. Signed calls are refused from 15
// minutes on. Long before that passcodes, whose lives are minutes, are taken for
// expired, or sent when they have expired. And from seconds on replicas may be as far
// from each other, whose windows and look-ups count by clocks that agree.
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

// reach checks endpoint and clock. It reports false where nothing answers.
func (r *run) reach() bool {
	cfg := r.Config.Aliyun
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
	url := cfg.Protocol + "://" + cfg.Endpoint
	presence, err := r.Aliyun.Knock(ctx)
	if err != nil {
		r.fail(checkEndpoint, "", url+": "+err.Error(), mendEndpoint(err))
		return false
	}
	r.ok(checkEndpoint, "", url+" answers")
	r.clock(presence)
	return true
}

func mendEndpoint(err error) string {
	var inquiry *aliyun.InquiryError
	if errors.As(err, &inquiry) {
		switch inquiry.Code {
		case "dns":
			return "correct aliyun.endpoint, or the name servers of this machine"
		case "tls":
			return "correct aliyun.endpoint and aliyun.protocol, or the clock and the root certificates of this machine"
		}
	}
	return "correct aliyun.endpoint and aliyun.protocol, or let this machine reach it"
}

// clock compares the clocks.
func (r *run) clock(p aliyun.Presence) {
	if !p.Dated {
		r.warn(checkClock, "", "can't be compared: the answer has no Date", "see that aliyun.endpoint is Aliyun's")
		return
	}
	const mend = "set the clock of this machine, and keep it by NTP"
	off, way := p.Ahead.Abs().Round(time.Second), "behind"
	r.clockFailed = off >= clockFail
	if p.Ahead < 0 {
		way = "ahead of"
	}
	detail := fmt.Sprintf("ours is %s %s Aliyun's", domain.FormatDuration(off), way)
	switch {
	case off >= refusedAt:
		r.fail(checkClock, "", detail+"; from "+domain.FormatDuration(refusedAt)+" on it refuses every call", mend)
	case off >= clockFail:
		r.fail(checkClock, "", detail+"; passcodes are taken for expired, or sent when they have", mend)
	case off > clockWarn:
		r.warn(checkClock, "", detail+"; limits and look-ups count on replicas' clocks that agree", mend)
	default:
		// The header counts whole seconds, and the connection took a while.
		r.ok(checkClock, "", "within "+domain.FormatDuration(max(off, time.Second))+" of Aliyun's")
	}
}

// account checks the credentials with the first question that the endpoint
// serves, and goes on to the signatures and templates where they are good.
func (r *run) account() {
	signs, templates := r.questions()
	questions := slices.Concat(signs, templates)
	asked := questions
	if len(questions) == 0 {
		// Whether the answer is no or yes, it shows whether the call was well signed.
		asked = []question{r.signQuestion(r.Trial)}
	}
	outcomes := []outcome{r.put(asked[0])}
	for next := 1; next < len(asked) && reasonOf(outcomes[next-1].err) == aliyun.NotOffered; next++ {
		outcomes = append(outcomes, r.put(asked[next]))
	}
	if !r.credentials(outcomes[len(outcomes)-1].err) {
		r.skip(checkCredentials, checkSignature, checkTemplate)
		return
	}
	if len(signs) == 0 {
		r.skip(checkSettings, checkSignature)
	}
	for i, q := range questions {
		if i == len(outcomes) {
			outcomes = append(outcomes, r.put(q))
		}
		if !r.tell(q, outcomes[i]) {
			for _, left := range questions[i+1:] {
				r.skipOne(q.check+" "+q.name, left.check, left.name)
			}
			return
		}
	}
	if len(templates) == 0 {
		r.skip(checkSettings, checkTemplate)
	}
}

// credentials judges what a signed call brought. It reports false where further
// ones would bring no more.
func (r *run) credentials(err error) bool {
	key := "the access key " + r.Config.Aliyun.AccessKeyID.String()
	if r.Config.Aliyun.AccessKeyID.IsZero() {
		key = "the access key that this machine provides"
	}
	var inquiry *aliyun.InquiryError
	if err != nil && !errors.As(err, &inquiry) {
		r.fail(checkCredentials, "", err.Error(), "")
		return false
	}
	if err == nil || accepted(inquiry) {
		r.ok(checkCredentials, "", "Aliyun accepts "+key)
		return true
	}
	said := " (" + inquiry.Error() + ")"
	fail := func(detail, mend string) { r.fail(checkCredentials, "", detail+said, mend) }
	switch inquiry.Reason {
	case aliyun.KeyRefused:
		fail("Aliyun does not know "+key+", or it is disabled", "correct aliyun.access_key_id, or enable the key in the RAM console")
	case aliyun.SecretWrong:
		fail("the secret is not that of "+key, "correct aliyun.access_key_secret")
	case aliyun.TokenRefused:
		fail("Aliyun refuses the security token", "renew aliyun.security_token, or leave the keys to this machine's role")
	case aliyun.NoCredentials:
		r.fail(checkCredentials, "", "none are set, and this machine provides none",
			"set aliyun.access_key_id and aliyun.access_key_secret, or give this machine a role")
	case aliyun.AccountClosed:
		fail("Aliyun accepts "+key+" and refuses its account", "look at the account in Aliyun's console")
	case aliyun.ClockOff:
		r.clockRefused(said)
	case aliyun.NotOffered:
		r.warn(checkCredentials, "", "can't be checked: this endpoint serves none of our questions"+said, "see that aliyun.endpoint is Aliyun's")
		return true
	case aliyun.Busy:
		r.warn(checkCredentials, "", "can't be checked: Aliyun is busy"+said, "run it again")
	case aliyun.Unreadable:
		fail("what answers is not Aliyun SMS", "correct aliyun.endpoint and aliyun.protocol, or look for a proxy on the way")
	case aliyun.Unreachable:
		fail("a signed call is not answered", "run it again; look at aliyun.timeout and the network")
	default:
		fail("Aliyun refuses a signed call", "look the code up in Aliyun's documents")
	}
	return false
}

// accepted reports whether a refusal shows that the signature was good: the
// service is asked only after the gateway has found so.
func accepted(e *aliyun.InquiryError) bool {
	switch e.Reason {
	case aliyun.NotListed, aliyun.NotAllowed:
		return true
	case aliyun.Refused:
		return strings.HasPrefix(e.Code, "isv.") || strings.HasPrefix(e.Code, "isp.")
	default:
		return false
	}
}

// clockRefused says where to look when Aliyun refuses the time of a call, which
// shows nothing of the credentials.
func (r *run) clockRefused(said string) {
	if !r.clockFailed {
		r.fail(checkClock, "", "Aliyun refuses the time of a signed call"+said, "set the clock of this machine, and keep it by NTP")
	}
	r.skip(checkClock, checkCredentials)
}

// reasonOf is why an inquiry was not answered; empty where it was.
func reasonOf(err error) aliyun.Reason {
	var inquiry *aliyun.InquiryError
	if errors.As(err, &inquiry) {
		return inquiry.Reason
	}
	return ""
}
