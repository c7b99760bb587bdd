package aliyun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Codes of ours, where no answer of the service could be read.
const (
	codeTimeout     = "timeout"
	codeConnTimeout = "connect_timeout"
	codeCanceled    = "canceled"
	codeTooLate     = "too_late"
	codeRefused     = "connection_refused"
	codeReset       = "connection_reset"
	codeClosed      = "connection_closed"
	codeUnreachable = "unreachable"
	codeDNS         = "dns"
	codeTLS         = "tls"
	codeNetwork     = "network"
	codeUnreadable  = "unreadable_answer"
	codeNoBizID     = "no_biz_id"
	codeUnsolicited = "unsolicited_answer"
	codeCredentials = "credentials"
	codeNotBuilt    = "request_not_built"
)

// faultTexts explain the codes to people. They are fixed, because the texts of
// the errors behind them hold the URL.
var faultTexts = map[string]string{
	codeTimeout:     "no answer in time",
	codeConnTimeout: "no connection in time",
	codeCanceled:    "the call was canceled",
	codeTooLate:     "the claim had run out before the request could be written",
	codeRefused:     "connection refused",
	codeReset:       "connection reset",
	codeClosed:      "connection closed without an answer",
	codeUnreachable: "host or network unreachable",
	codeDNS:         "the endpoint's name could not be resolved",
	codeTLS:         "the TLS handshake failed",
	codeNetwork:     "network error",
	codeUnreadable:  "the answer could not be read",
	codeUnsolicited: "an answer came before the request was written",
}

// faultOf returns the outcome of an exchange that brought no readable answer.
// Its class rests on one fact alone: whether bytes of the request were written.
func faultOf(ctx context.Context, x *exchange) domain.Outcome {
	if !x.asked && !x.written {
		return domain.Outcome{
			Class: passcode.ClassConfig, Code: codeNotBuilt,
			Message: "the SDK could not build the request",
		}
	}
	code := faultCode(ctx, x)
	text := faultText(x, code)
	if x.written {
		return domain.Outcome{Class: passcode.ClassInDoubt, Code: code, Message: text + "; the request had been written"}
	}
	return domain.Outcome{
		Class: passcode.ClassTransient, Code: code, Message: text + "; nothing was sent",
		NotMade: code == codeTooLate || code == codeCanceled,
	}
}

// faultText explains a code to people, with the status where an answer had one.
func faultText(x *exchange, code string) string {
	if x.status == 0 {
		return faultTexts[code]
	}
	return fmt.Sprintf("HTTP %d: %s", x.status, faultTexts[code])
}

func faultCode(ctx context.Context, x *exchange) string {
	err := x.err
	switch {
	case !x.written && x.late():
		return codeTooLate
	case err == nil:
		return codeUnsolicited
	case ctx.Err() != nil:
		return ctxCode(ctx, x.written)
	case errors.Is(err, errUnreadable), errors.Is(err, errAnswerTooLarge):
		return codeUnreadable
	case timedOut(err):
		return timeoutCode(x.written)
	default:
		return networkCode(err)
	}
}

// ctxCode tells a caller who gave up from time that ran out.
func ctxCode(ctx context.Context, written bool) string {
	if cause := context.Cause(ctx); errors.Is(cause, errCallTimeout) || errors.Is(cause, context.DeadlineExceeded) {
		return timeoutCode(written)
	}
	return codeCanceled
}

func timeoutCode(written bool) string {
	if written {
		return codeTimeout
	}
	return codeConnTimeout
}

// timedOut asks every link of the chain: a *url.Error answers for its next link
// alone, so that errors.As would stop too early.
func timedOut(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // each link is asked
			return true
		}
	}
	return false
}

func networkCode(err error) string {
	var dns *net.DNSError
	var handshake *tlsError
	switch {
	case errors.As(err, &dns):
		return codeDNS
	case errors.As(err, &handshake):
		return codeTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return codeRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return codeReset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return codeUnreachable
	// net/http has no name for the error of an idle connection that the server
	// closed at the moment of use.
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "server closed idle connection"):
		return codeClosed
	default:
		return codeNetwork
	}
}
