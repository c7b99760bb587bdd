package domain

// Template is what Aliyun sends for one usage type. The tags are those of package config.
type Template struct {
	UsageType    string       `yaml:"usage_type" required:"write the usage type, such as Generic"`
	TemplateCode TemplateCode `yaml:"template_code" required:"write the code of an approved template, such as SMS_123456789"`
	SignName     string       `yaml:"sign_name,omitempty"` // empty means aliyun.sign_name
	Params       []string     `yaml:"params,omitempty"`    // the variables beside the code that the template takes
}

// TemplateCode is a template's codes, in the settings one text for both or an object.
type TemplateCode struct {
	China    string `yaml:"china" required:"write the code for mainland China, or one text for both"`
	Overseas string `yaml:"overseas" required:"write the code for elsewhere, or one text for both"`
}

// MarshalYAML writes one text for both where they are equal.
func (c TemplateCode) MarshalYAML() (any, error) {
	if c.China == c.Overseas {
		return c.China, nil
	}
	type plain TemplateCode
	return plain(c), nil
}
