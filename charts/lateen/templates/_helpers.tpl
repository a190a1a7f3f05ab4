{{- define "lateen.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Name of namespaced objects. 53 characters leave room for suffixes. A Service's has no dots and begins with a letter,
which a release's may not. */}}
{{- define "lateen.fullname" -}}
{{- $name := .Values.fullnameOverride }}
{{- if not $name }}
{{- $chart := include "lateen.name" . }}
{{- $name = contains $chart .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $chart) }}
{{- end }}
{{- $name = replace "." "-" $name }}
{{- regexMatch "^[a-z]" $name | ternary $name (printf "lateen-%s" $name) | trunc 53 | trimSuffix "-" }}
{{- end }}

{{/* Name of cluster-scoped objects: releases of one name may live in several namespaces. */}}
{{- define "lateen.clusterName" -}}
{{- printf "%s-%s" (include "lateen.fullname" .) .Release.Namespace }}
{{- end }}

{{- define "lateen.selectorLabels" -}}
app.kubernetes.io/name: lateen-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Labels by which others find an object count less than those by which the chart does. */}}
{{- define "lateen.labels" -}}
{{- $own := include "lateen.selectorLabels" . | fromYaml }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "app.kubernetes.io/part-of" "lateen" }}
{{- merge $own .Values.commonLabels | toYaml }}
{{- end }}

{{- define "lateen.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "lateen.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* A tag as text. Arguments: value, its name, default. */}}
{{- define "lateen.tag" -}}
{{- $value := index . 0 }}
{{- $text := toString $value }}
{{- /* --set gives int64, which is exact. A file gives float64: 1.10 is 1.1 by now, and 1.0 is 1. */}}
{{- if kindIs "float64" $value }}
{{- fail (printf "%s is a number, %v, and YAML may have dropped zeros of it: expected a text. Quote it, as in tag: \"1.10\"" (index . 1) $value) }}
{{- end }}
{{- default (index . 2) $text }}
{{- end }}

{{- define "lateen.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (include "lateen.tag" (list .tag "image.tag" $.Chart.AppVersion)) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "lateen.trainerImage" -}}
{{- with .Values.trainer.image }}
{{- printf "%s:%s" .repository (include "lateen.tag" (list .tag "trainer.image.tag" (printf "%s-{platform}" $.Chart.AppVersion))) }}
{{- end }}
{{- end }}

{{/* What the operator needs, in each namespace that it works in. docs/operator.md says why it needs each verb. */}}
{{- define "lateen.rules" -}}
- apiGroups: [lateen.dev]
  resources: [lmtrainingjobs]
  verbs: [get, list, watch, delete]
- apiGroups: [lateen.dev]
  resources: [lmtrainingjobs/status]
  verbs: [patch]
- apiGroups: [jobset.x-k8s.io]
  resources: [jobsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch{{ if .Values.trainer.networkPolicies }}, create{{ end }}]
- apiGroups: [""]
  resources: [events]
  verbs: [create, list]
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list]
{{- end }}

{{- define "lateen.subjects" -}}
- kind: ServiceAccount
  name: {{ include "lateen.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
