package consumer

import "strings"

// matchesAny reports whether one of the patterns covers the subject.
func matchesAny(patterns []string, subject string) bool {
	for _, p := range patterns {
		if matches(p, subject) {
			return true
		}
	}
	return false
}

// matches reports whether a pattern covers a subject, by the rules of NATS: "*"
// stands for one token, a closing ">" for one or more.
func matches(pattern, subject string) bool {
	for {
		p, patternRest, morePattern := strings.Cut(pattern, ".")
		s, subjectRest, moreSubject := strings.Cut(subject, ".")
		switch {
		case p == ">" && !morePattern:
			return s != ""
		case p != "*" && p != s:
			return false
		case !morePattern || !moreSubject:
			return morePattern == moreSubject
		}
		pattern, subject = patternRest, subjectRest
	}
}

// traceID returns the trace id of a W3C traceparent header, for logs; empty
// where the header is absent or not of version 00.
func traceID(traceParent string) string {
	parts := strings.Split(traceParent, "-")
	if len(parts) != 4 || parts[0] != "00" || len(parts[1]) != 32 || strings.Trim(parts[1], "0123456789abcdef") != "" {
		return ""
	}
	return parts[1]
}
