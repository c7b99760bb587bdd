package answer

import (
	"cmp"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Codes of ours, where no answer of the service could be read.
var (
	CodeTimeout     = ours("timeout", "no answer in time")
	CodeConnTimeout = ours("connect_timeout", "no connection in time")
	CodeCanceled    = ours("canceled", "the call was canceled")
	CodeTooLate     = ours("too_late", "the claim had run out before the request could be written")
	CodeRefused     = ours("connection_refused", "connection refused")
	CodeReset       = ours("connection_reset", "connection reset")
	CodeClosed      = ours("connection_closed", "connection closed without an answer")
	CodeUnreachable = ours("unreachable", "host or network unreachable")
	CodeDNS         = ours("dns", "the endpoint's name could not be resolved")
	CodeTLS         = ours("tls", "the TLS handshake failed")
	CodeNetwork     = ours("network", "network error")
	CodeUnreadable  = ours("unreadable_answer", "the answer could not be read")
	CodeNoBizID     = ours("no_biz_id", "OK without a BizId")
	CodeCredentials = ours("credentials", "no credentials could be had from the provider")
	CodeNotBuilt    = ours("request_not_built", "the SDK could not build the request")
)

// Texts explain these codes. The errors behind them hold the URL.
var Texts = map[string]string{}

func ours(code, text string) string {
	Texts[code] = text
	return code
}

// Failure is why a question was not answered. It holds no part of a request.
type Failure struct {
	Action   string         // the question: "QuerySendDetails"
	Class    passcode.Class // what the code means for a send; never in doubt
	Code     string         // Aliyun's after scrubbing, or ours
	Message  string         // Aliyun's, often in Chinese, or ours; may be empty
	Answered bool           // Aliyun itself gave this answer, so it can be reached
}

// Error is code and message, without a code of ours, which says the same.
func (f *Failure) Error() string {
	_, ours := Texts[f.Code]
	switch {
	case ours:
		return cmp.Or(f.Message, Texts[f.Code])
	case f.Message == "":
		return f.Code
	default:
		return f.Code + ": " + f.Message
	}
}

// Reason sorts failures by who can fix them.
type Reason string

// The reasons.
const (
	Unreachable   Reason = "unreachable"    // no connection, or no answer
	Unreadable    Reason = "unreadable"     // the answer is not one of the service's
	NoCredentials Reason = "no_credentials" // there is nothing to sign with
	KeyRefused    Reason = "key_refused"    // the access key is unknown or disabled
	SecretWrong   Reason = "secret_wrong"   // the secret is not that of the key
	RefusedToken  Reason = "token_refused"  // the security token is wrong, expired or missing
	ClockOff      Reason = "clock_off"      // the time of the request is too far from the service's
	NotAllowed    Reason = "not_allowed"    // the key's user may not ask this
	AccountClosed Reason = "account_closed" // the service refuses the account
	Busy          Reason = "busy"           // the service has too much to do, or a failure
	NotOffered    Reason = "not_offered"    // this endpoint doesn't serve the question
	NotListed     Reason = "not_listed"     // the account has no such signature or template
	Refused       Reason = "refused"        // anything else
)

// reasons lists the codes whose class alone does not tell.
var reasons = index(map[Reason]string{
	NoCredentials: CodeCredentials,
	Unreadable:    CodeUnreadable,
	KeyRefused:    `InvalidAccessKeyId*`,
	SecretWrong:   `SignatureDoesNotMatch`,
	RefusedToken:  `InvalidSecurityToken* MissingSecurityToken`,
	ClockOff:      `InvalidTimeStamp* IllegalTimestamp`,
	NotAllowed:    `NoPermission NoPermission.* Forbidden* ActionUnauthorized isp.RAM_PERMISSION_DENY`,
	NotOffered:    `InvalidAction* InvalidApi* InvalidVersion* NoSuchVersion UnsupportedOperation`,
	NotListed:     `isv.SMS_SIGNATURE_ILLEGAL isv.SMS_SIGN_ILLEGAL isv.SMS_TEMPLATE_ILLEGAL`,
	Refused:       CodeNotBuilt,
})

// Reason sorts the failure.
func (f *Failure) Reason() Reason {
	if reason, known := meaning(reasons, f.Code); known {
		return reason
	}
	if _, ours := Texts[f.Code]; ours {
		return Unreachable
	}
	switch f.Class {
	case passcode.ClassAccount:
		return AccountClosed
	case passcode.ClassTransient, passcode.ClassThrottled:
		return Busy
	default:
		return Refused
	}
}
