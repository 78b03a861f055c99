Feature: Maintenance whose owner is gone
  A repository is collected by one owner; when that owner is a pod long gone, backups go on and nothing is ever collected.

  @virtual-time
  Scenario: A foreign owner is named, and gives way only when the operator says so
    Given a volume "app-data" holding 20 files and 512 KiB from seed 24
    And a repository "main"
    And a replication source "app" for "app-data" into "main" at "0 1 * * *"
    And a maintenance "nightly" of "main" at "0 2 * * *"
    When the Secret "main" is set to
      | data.KOPIA_OVERRIDE_MAINTENANCE_USERNAME | bm9ib2R5QHZvbHN5bmMtc3JjLWFwcC14N2sycA== |
    And the KopiaMaintenance "nightly" is set to
      | metadata.annotations | {"firedrill.dev/take-ownership": "maintenance@volsync"} |
    And 3 hours pass
    And the Secret "main" is set to
      | data.KOPIA_OVERRIDE_MAINTENANCE_USERNAME | null |
    And the KopiaMaintenance "nightly" is set to
      | metadata.annotations | null |
    And a condition of the KopiaMaintenance "nightly" says "belongs to nobody@volsync-src-app-x7k2p"
    Then the repository "main" is maintained by "nobody@volsync-src-app-x7k2p"
    When the operator runs to take maintenance over from exactly this owner
      """
      kubectl annotate kopiamaintenance nightly firedrill.dev/take-ownership=nobody@volsync-src-app-x7k2p
      """
    And 24 hours pass
    Then the repository "main" is maintained by "maintenance@volsync"
    And the MaintenanceHealthy condition of the KopiaMaintenance "nightly" says "MaintenanceHealthy=True"
    And the repository "main" verifies

  Scenario: A maintenance that was asked for names the dead owner, and takes over when the operator says so
    Given a volume "app-data" holding 20 files and 512 KiB from seed 27
    And a repository "main"
    And a replication source "app" for "app-data" into "main" on tag "one"
    And a maintenance "nightly" of "main" at "0 2 * * *"
    When "app" synchronises once more
    And the Secret "main" is set to
      | data.KOPIA_OVERRIDE_MAINTENANCE_USERNAME | bm9ib2R5QHZvbHN5bmMtc3JjLWFwcC14N2sycA== |
    And the KopiaMaintenance "nightly" is set to
      | metadata.annotations  | {"firedrill.dev/take-ownership": "maintenance@volsync"} |
      | spec.trigger.schedule | null                                                    |
      | spec.trigger.manual   | by-the-pod                                              |
    And an event of the KopiaMaintenance "nightly" says "completed successfully with tag: by-the-pod"
    Then the repository "main" is maintained by "nobody@volsync-src-app-x7k2p"
    When the Secret "main" is set to
      | data.KOPIA_OVERRIDE_MAINTENANCE_USERNAME | null |
    And the KopiaMaintenance "nightly" is set to
      | metadata.annotations | null |
      | spec.trigger.manual  | now  |
    And a condition of the KopiaMaintenance "nightly" says "belongs to nobody@volsync-src-app-x7k2p"
    Then the repository "main" is maintained by "nobody@volsync-src-app-x7k2p"
    When the operator runs to take maintenance over from exactly this owner
      """
      kubectl annotate kopiamaintenance nightly firedrill.dev/take-ownership=nobody@volsync-src-app-x7k2p
      """
    And the KopiaMaintenance "nightly" is triggered with "again"
    And an event of the KopiaMaintenance "nightly" says "completed successfully with tag: again"
    And a condition of the KopiaMaintenance "nightly" says "Maintenance runs by manual tag"
    Then the repository "main" is maintained by "maintenance@volsync"
    And the MaintenanceHealthy condition of the KopiaMaintenance "nightly" says "MaintenanceHealthy=True"
    And the repository "main" verifies
