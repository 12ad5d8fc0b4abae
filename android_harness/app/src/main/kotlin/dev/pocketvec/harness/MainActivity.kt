package dev.pocketvec.harness

import android.app.Activity
import android.os.Bundle
import android.view.View
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.EditText
import android.widget.Spinner
import android.widget.TextView
import java.io.File

/** Two texts, one artifact: how alike they are, how long that took and what memory it needs. */
internal class MainActivity : Activity() {
    private lateinit var model: TrialModel
    private var artifacts: List<File> = emptyList()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.main)
        model = lastNonConfigurationInstance as TrialModel? ?: TrialModel(weightCacheFolder(this))
        findViewById<Button>(R.id.compare).setOnClickListener { compare() }
        model.observer = ::show
    }

    /** Comes before the fields get their state back, so that the choice of artifact is kept as well. */
    override fun onStart() {
        super.onStart()
        listArtifacts()
        show(model.state)
    }

    /** Turning the phone keeps the open model and work in progress; fields keep their text by themselves. */
    override fun onRetainNonConfigurationInstance(): Any = model

    override fun onDestroy() {
        model.observer = null
        if (!isChangingConfigurations) model.close()
        super.onDestroy()
    }

    private fun listArtifacts() {
        val found = installedArtifacts(this)
        if (found == artifacts) return
        artifacts = found
        val names = found.map(File::getName)
        findViewById<Spinner>(R.id.artifact).adapter =
            ArrayAdapter(this, android.R.layout.simple_spinner_dropdown_item, names)
    }

    private fun compare() {
        val folder = artifacts.getOrNull(findViewById<Spinner>(R.id.artifact).selectedItemPosition) ?: return
        model.compare(folder, text(R.id.query), text(R.id.document))
    }

    private fun text(field: Int): String = findViewById<EditText>(field).text.toString()

    private fun show(trial: Trial) {
        findViewById<Button>(R.id.compare).isEnabled = artifacts.isNotEmpty() && !trial.isBusy
        findViewById<View>(R.id.busy).visibility = if (trial.isBusy) View.VISIBLE else View.INVISIBLE
        findViewById<TextView>(R.id.outcome).text = describe(trial)
    }

    private fun describe(trial: Trial): String = when (trial) {
        is Trial.Idle -> if (artifacts.isEmpty()) getString(R.string.no_artifacts, artifactPlace()) else ""
        is Trial.Opening -> getString(R.string.opening, trial.artifact)
        is Trial.Embedding -> getString(R.string.embedding)
        is Trial.Failed -> getString(R.string.failed, trial.reason)
        is Trial.Done -> listOf(
            getString(R.string.similarity, trial.similarity),
            getString(R.string.timing, trial.queryMs, trial.documentMs, trial.openMs),
            getString(R.string.memory, trial.memory.total, trial.memory.privateDirty),
            getString(R.string.runtime, trial.artifact, trial.runtime),
        ).joinToString("\n\n")
    }

    private fun artifactPlace(): String = "/sdcard/Android/media/$packageName/artifacts"
}
