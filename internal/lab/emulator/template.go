package emulator

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// templateTypes are the values of QuerySmsTemplate's TemplateType, under the names of
// --template.
var templateTypes = map[string]int{
	"verification":  typeVerification,
	"notification":  1,
	"promotion":     2,
	"international": typeInternational, // for numbers outside mainland China
}

// listTypes are the same types as QuerySmsTemplateList numbers them.
var listTypes = map[int]int{typeVerification: 2, 1: 0, 2: 1, typeInternational: 6}

const (
	typeVerification  = 0
	typeInternational = 3
)

// template is what is known of a template that is approved.
type template struct {
	code      string
	kind      int
	variables []string // nil for any
}

// readTemplate reads CODE, CODE:variable:variable, and both with =KIND behind.
func readTemplate(spec string) (t template, err error) {
	names, kind, given := strings.Cut(spec, "=")
	if given {
		var known bool
		if t.kind, known = templateTypes[kind]; !known {
			kinds := slices.Sorted(maps.Keys(templateTypes))
			return t, errors.New("the kind behind = must be one of " + strings.Join(kinds, ", "))
		}
	}
	parts := strings.Split(names, ":")
	if slices.Contains(parts, "") {
		return t, errors.New("must be CODE, or CODE:variable:…, with =KIND behind it where it is no verification template")
	}
	t.code = parts[0]
	if len(parts) > 1 {
		t.variables = parts[1:]
	}
	return t, nil
}

// required are the variables that each message of the template must have.
func (t template) required() []string {
	if t.variables == nil {
		return []string{codeVariable}
	}
	return t.variables
}

// text is the template as QuerySmsTemplate shows it.
func (t template) text() string {
	var variables strings.Builder
	for _, name := range t.required() {
		variables.WriteString("${" + name + "}")
	}
	return "您的验证码为" + variables.String() + ",请勿泄露于他人!"
}
