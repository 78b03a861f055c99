Feature: What users change while it runs
  Switches, certificates and running applications are met where they are, and nothing is left behind.

  @virtual-time
  Scenario: A backup that is paused stops its mover, and goes on afterwards
    Given a volume "app-data" holding 10 files and 1 MiB from seed 31
    And a repository "main"
    And the fault "store-unavailable"
    And a replication source "app" for "app-data" into "main" on tag "one"
    When 5 minutes pass
    And the ReplicationSource "app" is set to
      | paused | true |
    And 2 hours pass
    Then "app" has not synchronised
    When the fault "store-unavailable" ends
    And the ReplicationSource "app" is set to
      | paused | null |
    And "app" synchronises once more
    Then the newest snapshot of "app" restores to what "app-data" held

  @fixed-namespace
  Scenario: Maintenance that is switched off leaves no CronJob
    Given a volume "app-data" holding 10 files and 1 MiB from seed 32
    And a repository "main"
    And a replication source "app" for "app-data" into "main" on tag "one"
    And a maintenance "keeper" of "main" at "0 3 * * *"
    When "app" synchronises once more
    Then the CronJob "kopia-maint-keeper-bdb9bd17581c2d69" exists
    When the KopiaMaintenance "keeper" is set to
      | spec.enabled | false |
    And 5 minutes pass
    Then the CronJob "kopia-maint-keeper-bdb9bd17581c2d69" does not exist

  Scenario: A backup follows the pod that uses its volume, with a certificate from a ConfigMap
    Given a volume "app-data" holding 10 files and 1 MiB from seed 33
    And a repository "main"
    And these manifests
      """
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: company-ca}
      data:
        bundle.pem: |
          -----BEGIN CERTIFICATE-----
          MIIBezCCASGgAwIBAgIUTvLj2JZmGUvvpSLTU9dwWom3ShUwCgYIKoZIzj0EAwIw
          EjEQMA4GA1UEAwwHY29tcGFueTAgFw0yNjExMjExODE4NDlaGA8yMTI2MTAyODE4
          MTg0OVowEjEQMA4GA1UEAwwHY29tcGFueTBZMBMGByqGSM49AgEGCCqGSM49AwEH
          A0IABHYcVD+rCloklWNgwuuXn1i9x+fA0HCCRl4ZTPp7FBu2El/gDzOliuErnxUu
          Y1SqBZ8f+SnUZP6Lih7/5vm0i/yjUzBRMB0GA1UdDgQWBBRU74lfJvxFwcyxRHWF
          i1/qPhM8SDAfBgNVHSMEGDAWgBRU74lfJvxFwcyxRHWFi1/qPhM8SDAPBgNVHRMB
          Af8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCEEFRWoeQGXoQI4rFhvWDDZnuq
          FH+JmNUd2YwKDqzqJQIgK7WmRKwCNgtsjoWrinH6SIbqNDSwMSNs7KNEHApXiH8=
          -----END CERTIFICATE-----
      ---
      apiVersion: v1
      kind: Pod
      metadata: {name: app}
      spec:
        containers:
          - name: app
            image: registry.k8s.io/pause:3.10
            volumeMounts: [{name: data, mountPath: /data}]
        volumes:
          - {name: data, persistentVolumeClaim: {claimName: app-data}}
      """
    And a replication source "app" for "app-data" into "main" on tag "one"
      | copyMethod             | Direct     |
      | customCA.configMapName | company-ca |
      | customCA.key           | bundle.pem |
    When "app" synchronises once more
    Then the newest snapshot of "app" restores to what "app-data" held
