Feature: A volume snapshot that does not go away
  Snapshot names are fixed per replication source, so one that is stuck in deletion stops all later backups.

  Background:
    Given a volume "app-data" holding 20 files and 512 KiB from seed 22
    And a volume "other-data" holding 20 files and 512 KiB from seed 23
    And a repository "main"

  @virtual-time
  Scenario: Backups that wait for a stuck snapshot say so, and go on by themselves when the driver deletes again
    Given the fault "csi-delete-snapshot-fails"
    And a replication source "app" for "app-data" into "main" at "0 * * * *"
    When "app" synchronises once more
    And 4 hours pass
    Then "app" has synchronised once
    And "app" is reported as overdue
    And the Synchronizing condition of the ReplicationSource "app" says "VolumeSnapshot/volsync-app-src of an earlier sync to be deleted"
    When the fault "csi-delete-snapshot-fails" ends
    And "app" synchronises twice more
    Then "app" is not reported as overdue
    And the newest snapshot of "app" restores to what "app-data" held
    And each sync of "app" left exactly one snapshot

  Scenario: A backup that was asked for waits for the stuck snapshot, and runs when the driver deletes again
    Given the fault "csi-delete-snapshot-fails"
    And a replication source "app" for "app-data" into "main" on tag "one"
    When "app" synchronises once more
    And the ReplicationSource "app" is triggered with "two"
    And a condition of the ReplicationSource "app" says "VolumeSnapshot/volsync-app-src of an earlier sync to be deleted"
    Then "app" has synchronised once
    And the fault "csi-delete-snapshot-fails" has fired
    When the fault "csi-delete-snapshot-fails" ends
    And "app" synchronises once more
    Then the newest snapshot of "app" restores to what "app-data" held
    And each sync of "app" left exactly one snapshot

  @virtual-time
  Scenario: An operation that hangs in the driver ends with the driver's restart, and other apps go on meanwhile
    Given the fault "csi-operation-lock"
      | aim.times | 1 |
    And a replication source "app" for "app-data" into "main" at "0 * * * *"
    And a replication source "other" for "other-data" into "main" at "30 * * * *"
    When "app" synchronises once more
    And 4 hours pass
    Then "app" has synchronised once
    And "app" is reported as overdue
    And "other" has synchronised at least 4 times
    And "other" is not reported as overdue
    When the fault "csi-operation-lock" ends
    And the operator runs to restart the driver's controller plugin
      """
      kubectl -n rook-ceph rollout restart deployment csi-rbdplugin-provisioner
      """
    And "app" synchronises twice more
    Then "app" is not reported as overdue
    And the newest snapshot of "app" restores to what "app-data" held
