{{- define "perigee.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "perigee.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "perigee.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "perigee.selector" . }}
{{- end -}}

{{- define "perigee.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "perigee.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "perigee.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{- define "perigee.authSecret" -}}
{{ default (printf "%s-auth" (include "perigee.fullname" .)) .Values.auth.existingSecret }}
{{- end -}}

{{- define "perigee.clusterSecret" -}}
{{ default (printf "%s-cluster" (include "perigee.fullname" .)) .Values.cluster.existingSecret }}
{{- end -}}

{{/* The members, as --peers takes them: pods by the names that the headless service gives them. */}}
{{- define "perigee.peers" -}}
{{- $name := include "perigee.fullname" . -}}
{{- $peers := list -}}
{{- range $i := until (int .Values.replicas) -}}
{{- $peers = append $peers (printf "%s-%d=%s-%d.%s-peers.%s.svc.%s:7000" $name $i $name $i $name $.Release.Namespace $.Values.clusterDomain) -}}
{{- end -}}
{{- join "," $peers -}}
{{- end -}}
