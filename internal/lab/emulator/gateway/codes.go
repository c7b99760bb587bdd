package gateway

import (
	_ "embed" // the messages
	"net/http"
	"slices"
	"strings"
)

// Codes of refusals for more than one reason.
const (
	CodeUnavailable      = "ServiceUnavailable"
	codeHTTPMethod       = "UnsupportedHTTPMethod"
	codeParameterInvalid = "InvalidParameter"
	codeKeyUnknown       = "InvalidAccessKeyId.NotFound"
	codeSignatureBroken  = "IncompleteSignature"
)

// messages are from the service's answers and its page of error codes: a code, a tab and its message on each line.
//
//go:embed messages.tsv
var messages string

// Refusal is an answer other than OK.
type Refusal struct {
	Status  int
	Code    string
	Message string
}

// Refuse returns the refusal with the status and message that Aliyun sends with a code.
func Refuse(code string) *Refusal {
	r := &Refusal{Status: statusOf(code), Code: code, Message: code} // where no message is known
	if name, ok := strings.CutPrefix(code, "Missing"); ok && name != "" {
		r.Message = name + " is mandatory for this action."
	}
	for line := range strings.Lines(messages) {
		if message, ok := strings.CutPrefix(line, code+"\t"); ok {
			r.Message = strings.TrimSpace(message)
		}
	}
	return r
}

// Missing refuses a request that lacks one of the values.
func Missing(get func(name string) string, names ...string) *Refusal {
	for _, name := range names {
		if get(name) == "" {
			return Refuse("Missing" + name)
		}
	}
	return nil
}

// statusOf is always 200 for a code of the service's, others for the gateway's.
func statusOf(code string) int {
	switch kind, _, _ := strings.Cut(code, "."); {
	case slices.Contains([]string{"OK", "isv", "isp", "template_parameter_count_illegal"}, kind):
		return http.StatusOK
	case code == "InternalError":
		return http.StatusInternalServerError
	case code == CodeUnavailable:
		return http.StatusServiceUnavailable
	case slices.Contains([]string{"Forbidden", "NoPermission", codeHTTPMethod}, kind):
		return http.StatusForbidden
	case strings.HasSuffix(code, ".NotFound"):
		return http.StatusNotFound
	default:
		return http.StatusBadRequest
	}
}
