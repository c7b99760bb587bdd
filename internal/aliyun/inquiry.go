package aliyun

import (
	"cmp"
	"strings"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Reason is why an inquiry was not answered, as far as it decides who can mend
// it.
type Reason string

// The reasons.
const (
	// Unreachable: no connection could be made, or no answer came over it.
	Unreachable Reason = "unreachable"
	// Unreadable: the answer is not one of the service's.
	Unreadable Reason = "unreadable"
	// NoCredentials: there is nothing to sign with.
	NoCredentials Reason = "no_credentials"
	// KeyRefused: the access key's id is unknown, or the key was disabled.
	KeyRefused Reason = "key_refused"
	// SecretWrong: the id is known, and the secret does not belong to it.
	SecretWrong Reason = "secret_wrong"
	// TokenRefused: the security token is wrong, over or missing.
	TokenRefused Reason = "token_refused"
	// ClockOff: the time of the request is too far from the service's.
	ClockOff Reason = "clock_off"
	// NotAllowed: the key is good, and its user may not ask this.
	NotAllowed Reason = "not_allowed"
	// AccountClosed: the service refuses the account, for money or worse.
	AccountClosed Reason = "account_closed"
	// Busy: the service has too much to do, or a failure of its own.
	Busy Reason = "busy"
	// NotOffered: this endpoint does not serve the question.
	NotOffered Reason = "not_offered"
	// NotListed: the account has no signature or template of this name.
	NotListed Reason = "not_listed"
	// Refused: anything else; the code tells.
	Refused Reason = "refused"
)

// InquiryError says why an inquiry was not answered. No part of a request stands
// in it.
type InquiryError struct {
	Reason Reason
	// Code is Aliyun's, or a word of ours where no answer could be read.
	Code string
	// Message explains the code; Aliyun's own is often in Chinese. May be empty.
	Message string
}

// Error gives Aliyun's code and message, and where the code is ours, the message,
// which says the same.
func (e *InquiryError) Error() string {
	_, ours := faultTexts[e.Code]
	switch {
	case e.Message == "":
		return e.Code
	case ours:
		return e.Message
	default:
		return e.Code + ": " + e.Message
	}
}

// reasons is for the codes whose class alone does not tell.
var reasons = map[string]Reason{
	codeCredentials: NoCredentials,
	codeUnreadable:  Unreadable,
	codeUnsolicited: Unreadable,
	codeNotBuilt:    Refused,

	"SignatureDoesNotMatch":   SecretWrong,
	"MissingSecurityToken":    TokenRefused,
	"NoPermission":            NotAllowed,
	"isp.RAM_PERMISSION_DENY": NotAllowed,

	"isv.SMS_SIGNATURE_ILLEGAL": NotListed,
	"isv.SMS_SIGN_ILLEGAL":      NotListed,
	"isv.SMS_TEMPLATE_ILLEGAL":  NotListed,
}

// reasonPrefixes is for the codes that come with a suffix of their own; the first
// that fits counts.
var reasonPrefixes = []struct {
	prefix string
	reason Reason
}{
	{"InvalidAccessKeyId", KeyRefused},
	{invalidToken, TokenRefused},
	{"InvalidTimeStamp", ClockOff},
	{"Forbidden", NotAllowed},
	{"NoPermission.", NotAllowed},
	{"InvalidAction", NotOffered},
	{"InvalidApi", NotOffered},
	{"InvalidVersion", NotOffered},
}

// inquiryError sorts a refusal.
func inquiryError(r *refusal) *InquiryError {
	return &InquiryError{Reason: reasonOf(r), Code: r.code, Message: cmp.Or(r.message, faultTexts[r.code])}
}

func reasonOf(r *refusal) Reason {
	if reason, ok := reasons[r.code]; ok {
		return reason
	}
	if _, ours := faultTexts[r.code]; ours {
		return Unreachable
	}
	for _, p := range reasonPrefixes {
		if strings.HasPrefix(r.code, p.prefix) {
			return p.reason
		}
	}
	switch r.class {
	case passcode.ClassAccount:
		return AccountClosed
	case passcode.ClassTransient, passcode.ClassThrottled, passcode.ClassInDoubt:
		return Busy
	default:
		return Refused
	}
}
